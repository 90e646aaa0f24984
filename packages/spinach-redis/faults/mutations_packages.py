"""Rules that the packages keep in Python: the engine, the Redis broker, and the memory broker."""

from __future__ import annotations

from .mutation import CONFORMANCE, CORE_TESTS, MEMORY, REDIS_TESTS, Mutation

__all__ = ["PACKAGES"]

PACKAGES: tuple[Mutation, ...] = (
    Mutation(
        rule="the result goes with the outcome",
        file="spinach/worker/worker.py",
        before="keep_ms=options.keep_ms, result=kept",
        after="keep_ms=options.keep_ms",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_result_comes_back_equal_and_of_its_type",
    ),
    Mutation(
        rule="a failure goes with what is kept",
        file="spinach/worker/worker.py",
        before=("                failure=describe(err),\n                keep_ms=work.keep_ms,\n"),
        after="                failure=describe(err),\n",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_failure_tells_the_last_attempt",
    ),
    Mutation(
        rule="a cancelled job has an end where one was asked for",
        file="spinach/worker/early_end.py",
        before="OutcomeKind.CANCELLED, lease, task.name, keep_ms=work.keep_ms)",
        after="OutcomeKind.CANCELLED, lease, task.name)",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_cancelled_job_that_ends_in_any_failure_is_cancelled",
    ),
    Mutation(
        rule="results are bounded in bytes",
        file="spinach/record/payload.py",
        before=(
            "    if len(encoded) > limit_bytes:\n"
            "        raise PayloadTooLarge(\n"
            '            f"The encoded result'
        ),
        after=('    if False:\n        raise PayloadTooLarge(\n            f"The encoded result'),
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_result_beyond_the_limit_fails_the_job",
    ),
    Mutation(
        rule="how long a result is kept is the task's to say",
        file="spinach/producer/scheduling.py",
        before="recorded = structs.replace(asked, keep_ms=recorded.keep_ms)",
        after="recorded = asked",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_options_of_a_call_go_with_the_result_of_the_task",
    ),
    Mutation(
        rule="jobs of periodic tasks have the options of the task",
        file="spinach/worker/housekeeping.py",
        before="            options=task.options,\n",
        after="",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_periodic_task_may_keep_results",
    ),
    Mutation(
        rule="a job of another namespace is refused",
        file="spinach/wanted.py",
        before='if job.namespace not in ("", namespace):',
        after="if False:",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_job_of_another_namespace_is_refused",
    ),
    Mutation(
        rule="worker threads do not wait",
        file="spinach/engine.py",
        before="if seconds > 0 and pool is not None and thread in pool:",
        after="if False:",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_worker_thread_may_look_and_not_wait",
    ),
    Mutation(
        rule="a result is reported without a pause",
        file="spinach/worker/in_flight.py",
        before="outcome.keep_ms is not None and not self._buffer",
        after="False",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_end_that_someone_may_wait_for_is_reported_in_a_hurry",
    ),
    Mutation(
        rule="records with flags of a newer release are parked",
        file="spinach/record/header.py",
        before="if match is None or not _known(flags):",
        after="if match is None:",
        tests=f"{CORE_TESTS}/test_record_format.py",
        test="test_flags_out_of_order_are_none_of_ours",
    ),
    Mutation(
        rule="the cancel of a running job is marked",
        file="spinach/worker/in_flight.py",
        before="                item.cancelled = True\n",
        after="                item.cancelled = False\n",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_a_cancelled_job_that_runs_is_marked_and_its_outcome_counts",
    ),
    Mutation(
        rule="a cancelled job in the buffer frees its slot",
        file="spinach/worker/in_flight.py",
        before=(
            "            if task.max_concurrency is not None:\n"
            "                self._hurry_notifier()\n"
            "            if self._on_cancelled"
        ),
        after="            if self._on_cancelled",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_a_cancelled_job_in_the_buffer_frees_its_slot_in_a_hurry",
    ),
    Mutation(
        rule="a cancelled job in the buffer has an end",
        file="spinach/worker/in_flight.py",
        before="Outcome(OutcomeKind.CANCELLED, lease, task.name, keep_ms=item.keep_ms)",
        after="Outcome(OutcomeKind.CANCELLED, lease, task.name)",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_outcomes_without_a_thread_say_how_long_the_end_is_kept",
    ),
    Mutation(
        rule="what is given back has an end where it is cancelled",
        file="spinach/worker/in_flight.py",
        before="Outcome(OutcomeKind.RELEASE, item.lease, item.task.name, keep_ms=item.keep_ms)",
        after="Outcome(OutcomeKind.RELEASE, item.lease, item.task.name)",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_outcomes_without_a_thread_say_how_long_the_end_is_kept",
    ),
    Mutation(
        rule="cancels come with beats",
        file="spinach/worker/keep_alive.py",
        before="for pair in reply.cancelled]\n",
        after="for pair in reply.cancelled][:0]\n",
        tests=f"{CORE_TESTS}/test_jobs.py",
        test="test_worker_hears_of_a_cancel_with_its_next_beat",
    ),
    Mutation(
        rule="progress goes with beats",
        file="spinach/worker/keep_alive.py",
        before="self._in_flight.progress({member.member for member in due})",
        after="[]",
        tests=f"{CORE_TESTS}/test_jobs.py",
        test="test_progress_of_a_running_job_goes_out_with_a_beat",
    ),
    Mutation(
        rule="a job that ends too late is told of",
        file="spinach/worker/in_flight.py",
        before="        if now + TOLERANCE_SECONDS >= deadline:\n",
        after="        if False:\n",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_job_that_ends_too_late_is_told_of_although_nobody_saw_it_run",
    ),
    Mutation(
        rule="the arbiter looks at the first deadline",
        file="spinach/worker/in_flight.py",
        before=(
            "        if leased_job.deadline < self._overdue_at:\n"
            "            self._overdue_at = leased_job.deadline\n"
            "            self._wake_arbiter()"
        ),
        after=(
            "        if leased_job.deadline < self._overdue_at == math.inf:\n"
            "            self._overdue_at = leased_job.deadline\n"
            "            self._wake_arbiter()"
        ),
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_job_that_starts_later_but_is_due_sooner_is_told_of_in_time",
    ),
    Mutation(
        rule="a stop looks for overdue jobs",
        file="spinach/worker/arbiter.py",
        before=(
            "            self._keep_alive.step()\n"
            "            self._overdue.step()\n"
            "            leave_child()"
        ),
        after="            self._keep_alive.step()\n            leave_child()",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_job_is_told_of_while_its_worker_stops",
    ),
    Mutation(
        rule="a task sees its cancel",
        file="spinach/current.py",
        before=("            self._attempt.cancelled\n            or self._host.stopping"),
        after="            self._host.stopping",
        tests=f"{CORE_TESTS}/test_current.py",
        test="test_a_cancel_is_seen",
    ),
    Mutation(
        rule="a task sees the stop",
        file="spinach/current.py",
        before="            or self._host.stopping\n",
        after="",
        tests=f"{CORE_TESTS}/test_current.py",
        test="test_a_stop_is_seen_at_the_moment_it_is_asked_for",
    ),
    Mutation(
        rule="a task sees its deadline",
        file="spinach/current.py",
        before="            or is_overdue(self._attempt, self._host.clock)\n",
        after="",
        tests=f"{CORE_TESTS}/test_current.py",
        test="test_a_deadline_is_seen_when_it_has_passed",
    ),
    Mutation(
        rule="a note can be sent",
        file="spinach/progress.py",
        before='str.encode(note, "utf-8", "backslashreplace").decode("utf-8")',
        after="note",
        tests=f"{CORE_TESTS}/test_current.py",
        test="test_a_long_note_is_cut_and_a_lone_surrogate_made_storable",
    ),
    Mutation(
        rule="a note is bounded",
        file="spinach/progress.py",
        before="storable[:MAX_NOTE]",
        after="storable",
        tests=f"{CORE_TESTS}/test_current.py",
        test="test_a_long_note_is_cut_and_a_lone_surrogate_made_storable",
    ),
    Mutation(
        rule="the queue that knows the job says what became of its cancel",
        file="spinach/jobs.py",
        before=(
            "                if reply.verdict is not CancelVerdict.UNKNOWN:\n"
            "                    verdicts"
        ),
        after="                if True:\n                    verdicts",
        tests=f"{CORE_TESTS}/test_jobs.py",
        test="test_each_cancel_is_answered_in_order",
    ),
    Mutation(
        rule="a cursor is of one list of jobs",
        file="spinach/jobs.py",
        before="    if made_for != [*listing]:\n",
        after="    if False:\n",
        tests=f"{CORE_TESTS}/test_jobs.py",
        test="test_cursor_fits_into_a_url_and_belongs_to_its_listing",
    ),
    Mutation(
        rule="a cursor is of one list of failed jobs",
        file="spinach/failed.py",
        before="    if match[4] != listing:\n",
        after="    if False:\n",
        tests=f"{CORE_TESTS}/test_failed_filters.py",
        test="test_a_cursor_of_another_listing_is_refused",
    ),
    Mutation(
        rule="a purge ends",
        file="spinach/operating/queues.py",
        before="                left -= reply.removed\n",
        after="",
        tests=f"{CORE_TESTS}/test_operating.py",
        test="test_a_purge_ends_although_jobs_keep_coming",
    ),
    Mutation(
        rule="a purge goes in bounded calls",
        file="spinach/operating/queues.py",
        before="min(left, PURGE_CHUNK)",
        after="left",
        tests=f"{CORE_TESTS}/test_operating.py",
        test="test_a_purge_takes_what_waits_in_parts_and_tells_how_far_it_is",
    ),
    Mutation(
        rule="samples of a clock that was set back do not count",
        file="spinach/operating/flow.py",
        before=" if age_ms > 0]",
        after="]",
        tests=f"{CORE_TESTS}/test_operating.py",
        test="test_samples_of_a_clock_that_was_set_back_do_not_count",
    ),
    Mutation(
        rule="an error is no beginning of another",
        file="spinach_redis/failure.py",
        before='(json.dumps([kept.error])[:-1] + ",")',
        after="json.dumps([kept.error])[:-2]",
        tests=CONFORMANCE,
        test="test_error_is_told_apart_whatever_is_in_its_name",
    ),
    Mutation(
        rule="a queue that is paused is listed",
        file="spinach_redis/broker.py",
        before="        self._list_queue(queue)\n        return changed",
        after="        return changed",
        tests=CONFORMANCE,
        test="test_queue_that_is_paused_before_its_first_job_is_listed",
    ),
    Mutation(
        rule="each call that takes failed jobs out has its name",
        file="spinach_redis/failed.py",
        before="name = uuid.uuid4().hex",
        after='name = "call"',
        tests=CONFORMANCE,
        test="test_portions_are_bounded_and_take_each_job_once",
    ),
    Mutation(
        rule="a cancel is not made again by itself",
        file="spinach_redis/jobs.py",
        before="self._call(queue, call, repeatable=False)",
        after="self._call(queue, call, repeatable=True)",
        tests=f"{REDIS_TESTS}/test_operating.py",
        test="test_a_cancel_whose_answer_was_lost_is_not_made_again",
    ),
    Mutation(
        rule="a wait goes on when the server comes back",
        file="spinach_redis/results.py",
        before="if cause is not None and fault_of(cause) is not Fault.PASSING:",
        after="if cause is not None:",
        tests=f"{REDIS_TESTS}/test_results.py",
        test="test_wait_goes_on_when_the_server_comes_back",
    ),
    Mutation(
        rule="in memory: what is cancelled goes back to no queue",
        file="spinach_memory/queue.py",
        before=(
            "if self.cancelling and self.cancel_ended(job.stored_id) and kind in "
            "_BACK_TO_THE_QUEUE:"
        ),
        after="if False:",
        tests=MEMORY,
        test="test_job_whose_cancel_was_asked_for_goes_back_to_no_queue",
    ),
    Mutation(
        rule="in memory: what is cancelled is not recovered",
        file="spinach_memory/recovery.py",
        before="if queue.cancelling and queue.cancel_ended(stored_id):",
        after="if False:",
        tests=MEMORY,
        test="test_lost_job_whose_cancel_was_asked_for_is_gone",
    ),
    Mutation(
        rule="in memory: progress of a lease that is current",
        file="spinach_memory/queue.py",
        before="if lease is not None and lease.token == told.token:",
        after="if lease is not None:",
        tests=MEMORY,
        test="test_progress_is_kept_with_the_lease",
    ),
    Mutation(
        rule="in memory: progress goes with the lease",
        file="spinach_memory/queue.py",
        before="            self.progress.pop(stored_id, None)\n",
        after="            pass\n",
        tests=MEMORY,
        test="test_progress_is_kept_with_the_lease",
    ),
    Mutation(
        rule="in memory: no gap at the head",
        file="spinach_memory/jobs.py",
        before="        self.gaps += 1\n        self.close_up()\n",
        after="        self.gaps += 1\n",
        tests=MEMORY,
        test="test_parked_job_is_cancelled",
    ),
    Mutation(
        rule="in memory: no gap at the head after a fetch",
        file="spinach_memory/queue.py",
        before=(
            "            source.popleft()\n"
            "            if source.gaps:\n"
            "                source.close_up()\n"
            "            job.where = None"
        ),
        after="            source.popleft()\n            job.where = None",
        tests=MEMORY,
        test="test_cancelled_ready_job_is_gone",
    ),
    Mutation(
        rule="in memory: gaps are not counted",
        file="spinach_memory/jobs.py",
        before="return len(self) - self.gaps",
        after="return len(self)",
        tests=MEMORY,
        test="test_cancelled_ready_job_is_gone",
    ),
    Mutation(
        rule="in memory: a cancelled job does not wait for a retry",
        file="spinach_memory/future.py",
        before=(
            '        job.record = b""\n        if job.retries:\n            self.retrying -= 1\n'
        ),
        after='        job.record = b""\n',
        tests=MEMORY,
        test="test_job_that_waits_for_a_retry_is_cancelled",
    ),
    Mutation(
        rule="in memory: a slot for the next where one that came back is cancelled",
        file="spinach_memory/queue.py",
        before="            self.pass_on_slot(job)\n            self.ready.lose(job)",
        after="            self.ready.lose(job)",
        tests=MEMORY,
        test="test_job_that_came_back_to_the_front_is_cancelled",
    ),
    Mutation(
        rule="in memory: a retried job has no end",
        file="spinach_memory/queue.py",
        before="            self.results.forget(job.stored_id)\n",
        after="",
        tests=MEMORY,
        test="test_retried_job_has_not_ended_any_more",
    ),
    Mutation(
        rule="in memory: results are kept for their time",
        file="spinach_memory/results.py",
        before="found is not None and found[1] > now_ms else None",
        after="found is not None else None",
        tests=MEMORY,
        test="test_result_is_kept_as_long_as_it_was_asked_to",
    ),
    Mutation(
        rule="in memory: a lost job has an end",
        file="spinach_memory/queue.py",
        before="        self.keep_end(job, failed(failure), now_ms)\n",
        after="",
        tests=MEMORY,
        test="test_job_that_recovery_fails_has_an_end",
    ),
    Mutation(
        rule="in memory: an end is told to those who wait",
        file="spinach_memory/results.py",
        before="            waiter.wake()\n",
        after="            pass\n",
        tests=MEMORY,
        test="test_wait_ends_with_the_job",
    ),
    Mutation(
        rule="in memory: a paused queue hands out nothing",
        file="spinach_memory/broker.py",
        before="leases = () if paused else queue.take",
        after="leases = queue.take",
        tests=MEMORY,
        test="test_paused_queue_hands_out_nothing_to_any_process",
    ),
    Mutation(
        rule="in memory: the end of a pause wakes who waits",
        file="spinach_memory/queue.py",
        before=("        self.listed = True\n        self.wake()\n        if not paused"),
        after="        self.listed = True\n        if not paused",
        tests=MEMORY,
        test="test_every_process_that_waits_gets_a_job_once_the_queue_goes_on",
    ),
    Mutation(
        rule="in memory: purged jobs did not end",
        file="spinach_memory/operating.py",
        before="    queue.flow.purged += removed\n",
        after="",
        tests=MEMORY,
        test="test_purged_and_discarded_jobs_do_not_count_as_ended",
    ),
    Mutation(
        rule="in memory: slots of purged jobs are for the next ones",
        file="spinach_memory/operating.py",
        before="            queue.pass_on_slot(job)\n",
        after="            pass\n",
        tests=MEMORY,
        test="test_slot_of_a_job_that_is_purged_is_for_the_next_one",
    ),
    Mutation(
        rule="in memory: a limit that is set counts what runs",
        file="spinach_memory/slots.py",
        before="                self.occupy(job, slots)\n\n    def withdraw",
        after="                pass\n\n    def withdraw",
        tests=MEMORY,
        test="test_task_without_limit_gets_one_and_counts_what_runs",
    ),
    Mutation(
        rule="in memory: a paused task is not fired",
        file="spinach_memory/periodic.py",
        before="if entry is None or entry.paused or entry.due_ms",
        after="if entry is None or entry.due_ms",
        tests=MEMORY,
        test="test_paused_periodic_task_is_neither_due_nor_fired",
    ),
    Mutation(
        rule="in memory: a portion looks at a bounded number of jobs",
        file="spinach_memory/failed.py",
        before="if number >= FAILED_CHUNK or (size",
        after="if (size",
        tests=MEMORY,
        test="test_portions_are_bounded_and_take_each_job_once",
    ),
    Mutation(
        rule="in memory: last place of failed jobs that counts",
        file="spinach_memory/failed.py",
        before="self._cursors[first : bisect_right(self._cursors, portion.until)]",
        after="self._cursors[first:]",
        tests=MEMORY,
        test="test_job_that_fails_again_is_not_taken_twice",
    ),
    Mutation(
        rule="in memory: the newest failed job stays",
        file="spinach_memory/failed.py",
        before="(size > retention.size and left > 1)",
        after="size > retention.size",
        tests=MEMORY,
        test="test_worker_says_how_many_bytes_of_failed_jobs_are_kept",
    ),
)
