"""Rules of the protocol, each with a change that takes it away and the test that must fail.

A change replaces a piece of source text that has to be there exactly once. Where the source has
changed since, a test says so, as it does where the named test is gone.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MUTATIONS", "Mutation", "copy_packages"]

#: What may be changed, and what the tests of it import.
PACKAGES = ("spinach", "spinach_memory", "spinach_redis", "spinach_testing")

SCRIPTS = "spinach_redis/scripts"
CONFORMANCE = "packages/spinach-redis/tests/test_conformance.py::TestOneServer"
REDIS_TESTS = "packages/spinach-redis/tests"
CORE_TESTS = "packages/spinach-core/tests"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One rule, taken away."""

    rule: str
    #: Below the folder that holds the packages.
    file: str
    before: str
    after: str
    #: File of the test that must fail, and its name.
    tests: str
    test: str

    def apply(self, folder: Path) -> None:
        """Change a copy of the packages.

        Raises:
            AssertionError: the text to change is not there, or more than once.
        """
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        times = text.count(self.before)
        assert times == 1, (
            f"{self.file} has {times} times the text that {self.rule!r} changes, expected one. "
            f"Write the mutation anew: {self.before!r}"
        )
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


def copy_packages(folder: Path) -> None:
    """Put a copy of each package into a folder, from wherever it is installed."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        assert spec.origin is not None, name
        shutil.copytree(
            Path(spec.origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        rule="fence",
        file=f"{SCRIPTS}/shared/members.lua",
        before="    return 'FENCED'\n  end\n  if number",
        after="    last = -1\n  end\n  if number",
        tests=CONFORMANCE,
        test="test_recovered_member_is_fenced",
    ),
    Mutation(
        rule="answer that comes when a beat has found the membership fenced",
        file="spinach/worker/fetching.py",
        before="        if member.fenced:\n            # A beat",
        after="        if False:\n            # A beat",
        tests=f"{CORE_TESTS}/test_fetching.py",
        test="test_membership_that_a_beat_finds_fenced_gets_nothing_from_a_fetch_under_way",
    ),
    Mutation(
        rule="copy of a call that takes failed jobs out",
        file=f"{SCRIPTS}/revive_all.lua",
        before="if told then",
        after="if false then",
        tests=f"{REDIS_TESTS}/test_failed_all.py",
        test="test_connections_that_are_cut_cost_no_job_and_no_count",
    ),
    Mutation(
        rule="last place of failed jobs that counts",
        file=f"{SCRIPTS}/revive_all.lua",
        before="local newest = score_of(ARGV[12], ARGV[13])",
        after="local newest = score_of(2 ^ 52, 0)",
        tests=CONFORMANCE,
        test="test_job_that_fails_again_is_not_taken_twice",
    ),
    Mutation(
        rule="bounds of failed jobs that a worker says",
        file=f"{SCRIPTS}/shared/retention.lua",
        before="  if not text then",
        after="  if true then",
        tests=CONFORMANCE,
        test="test_worker_says_how_many_failed_jobs_are_kept",
    ),
    Mutation(
        rule="number of a sequenced call",
        file=f"{SCRIPTS}/shared/members.lua",
        before="if number <= tonumber(last) then",
        after="if false then",
        tests=f"{REDIS_TESTS}/test_worker_calls.py",
        test="test_copy_of_a_fetch_that_comes_late_is_stale",
    ),
    Mutation(
        rule="token",
        file=f"{SCRIPTS}/report.lua",
        before="if tokens[id] == ARGV[i + 1] then",
        after="if tokens[id] then",
        tests=CONFORMANCE,
        test="test_outcome_with_a_token_of_an_earlier_lease_is_refused",
    ),
    Mutation(
        rule="GAP",
        file=f"{SCRIPTS}/enqueue.lua",
        before="if number > last + 1 then",
        after="if false then",
        tests="packages/spinach-redis/faults/test_interleavings.py",
        test="refused_chunk",
    ),
    Mutation(
        rule="number of a job by itself",
        file=f"{SCRIPTS}/shared/single.lua",
        before="if last and last + 1 == tonumber(number) then",
        after="if last then",
        tests=f"{REDIS_TESTS}/test_single.py",
        test="test_quick_way_does_what_the_long_one_does",
    ),
    Mutation(
        rule="a resend keeps its number",
        file="spinach_redis/producer.py",
        before="    if chunk.number:\n        return\n",
        after="",
        tests=f"{REDIS_TESTS}/test_resend.py",
        test="test_job_that_was_done_before_it_was_sent_again_is_not_stored_anew",
    ),
    Mutation(
        rule="reconciliation",
        file="spinach/worker/fetching.py",
        before=("            member.uncertain = True\n            member.fetching.failed("),
        after="            member.fetching.failed(",
        tests=f"{CORE_TESTS}/test_fetching.py",
        test="test_after_a_lost_answer_the_next_call_reconciles_and_nothing_is_fetched",
    ),
    Mutation(
        rule="held by id and token",
        file=f"{SCRIPTS}/reconcile.lua",
        before="if owned[ARGV[i]] == ARGV[i + 1] then",
        after="if owned[ARGV[i]] then",
        tests=CONFORMANCE,
        test="test_leases_are_compared_by_token_and_not_by_job",
    ),
    Mutation(
        rule="held until answered, not until sent",
        file="spinach/worker/pending.py",
        before="for entries in (*self._waiting.values(), self._sent):",
        after="for entries in self._waiting.values():",
        tests=f"{CORE_TESTS}/test_pending.py",
        test="test_leases_stay_held_until_the_answer",
    ),
    Mutation(
        rule="a declaration replaces the former one",
        file=f"{SCRIPTS}/join.lua",
        before="  withdraw(q, limits_of(q), member, info, wanted)\n",
        after="",
        tests=CONFORMANCE,
        test="test_limit_that_is_withdrawn_lets_all_held_jobs_go",
    ),
    Mutation(
        rule="a limit is declared before its jobs run",
        file="spinach/worker/declaration.py",
        before="if limits.get(name, math.inf) > limit",
        after="if False",
        tests=f"{CORE_TESTS}/test_live_tasks.py",
        test="test_a_job_that_was_leased_before_its_limit_was_declared_goes_back",
    ),
    Mutation(
        rule="join hands out no jobs",
        file=f"{SCRIPTS}/fetch.lua",
        before="  local refused = refusal(q, q.member, q.number)\n",
        after=(
            "  if call('HEXISTS', q.seq, q.member) == 0 then\n"
            "    call('ZADD', q.members, now + 30000, q.member)\n"
            "    call('HSET', q.seq, q.member, 0)\n"
            "    call('HSET', q.info, q.member, '30000 ')\n"
            "  end\n"
            "  local refused = refusal(q, q.member, q.number)\n"
        ),
        tests=CONFORMANCE,
        test="test_process_that_never_joined_is_fenced",
    ),
    Mutation(
        rule="local lease check",
        file="spinach/worker/buffer.py",
        before="if now < leased_job.membership.safe_until:",
        after="if now >= 0:",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_no_job_starts_after_the_safe_part_of_the_lease",
    ),
    Mutation(
        rule="a fenced membership's buffer is dropped",
        file="spinach/worker/in_flight.py",
        before="if item.lease.member == member])",
        after="if False])",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_a_fence_drops_what_that_membership_buffered",
    ),
    Mutation(
        rule="cancel of a job in the buffer",
        file="spinach/worker/in_flight.py",
        before="            self._cancel_early = wanted\n"
        "            self._cancel_buffered(wanted)\n",
        after="            self._cancel_early = wanted\n",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_a_cancelled_job_in_the_buffer_never_starts_and_is_told_of",
    ),
    Mutation(
        rule="cancel of a job that is on its way",
        file="spinach/worker/in_flight.py",
        before="            self._cancel_early = wanted\n",
        after="            self._cancel_early = set()\n",
        tests=f"{CORE_TESTS}/test_in_flight.py",
        test="test_a_cancel_that_overtakes_the_fetch_meets_the_job_when_it_comes",
    ),
    Mutation(
        rule="no retry after a cancel",
        file="spinach/worker/early_end.py",
        before="    if work.cancelled:\n",
        after="    if False:\n",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_cancelled_job_that_ends_in_any_failure_is_cancelled",
    ),
    Mutation(
        rule="at most once, although the task gives the job back",
        file="spinach/worker/early_end.py",
        before="    if lease.repeatable:\n",
        after="    if True:\n",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_job_that_runs_at_most_once_cannot_be_given_back_and_says_so",
    ),
    Mutation(
        rule="attempt of a job that is overdue while its worker stops",
        file="spinach/worker/worker.py",
        before="self.stopping and not is_overdue(work, self.clock)",
        after="self.stopping",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_job_that_is_overdue_while_its_worker_stops_has_failed",
    ),
    Mutation(
        rule="a job is told once to be overdue",
        file="spinach/worker/in_flight.py",
        before="                    item.overdue = True\n",
        after="                    self._overdue_at = item.deadline\n",
        tests=f"{CORE_TESTS}/test_early_end.py",
        test="test_a_job_that_takes_too_long_is_told_of_once_with_its_stack",
    ),
    Mutation(
        rule="direct and buffered leases, when recovered",
        file=f"{SCRIPTS}/recover.lua",
        before="{pairs_[i], string.sub(token, 1, 1) == 'd', ",
        after="{pairs_[i], true, ",
        tests=CONFORMANCE,
        test="test_lost_buffered_lease_spends_nothing",
    ),
    Mutation(
        rule="direct and buffered leases, when fetched",
        file=f"{SCRIPTS}/fetch.lua",
        before="if string.sub(id, 1, 1) == '0' or direct_only or limit then",
        after="if direct_only or limit then",
        tests=CONFORMANCE,
        test="test_buffer_ends_before_the_first_at_most_once_job",
    ),
    Mutation(
        rule="clock guard",
        file=f"{SCRIPTS}/shared/members.lua",
        before="if now >= seen - STEP_MS and now - seen <= lease / 2 then",
        after="if now >= seen - STEP_MS then",
        tests=CONFORMANCE,
        test="test_nobody_is_declared_dead_right_after_an_outage",
    ),
    Mutation(
        rule="first write that a full server allows",
        file=f"{SCRIPTS}/shared/base.lua",
        before="  call('PERSIST', key)\n",
        after="",
        tests=f"{REDIS_TESTS}/test_producer.py",
        test="test_full_server_refuses_cleanly_and_drains",
    ),
    Mutation(
        rule="first write that a full server refuses",
        file=f"{SCRIPTS}/enqueue.lua",
        before="if number > last then\n",
        after="if number > last then\n  admit_when_full(q.jobs)\n",
        tests=f"{REDIS_TESTS}/test_producer.py",
        test="test_full_server_refuses_cleanly_and_drains",
    ),
    Mutation(
        rule="slot release",
        file=f"{SCRIPTS}/shared/slots.lua",
        before="if freed == 0 then",
        after="if freed >= 0 then",
        tests=CONFORMANCE,
        test="test_every_end_of_a_lease_frees_its_slot",
    ),
    Mutation(
        rule="marker re-add, after a fetch",
        file=f"{SCRIPTS}/fetch.lua",
        before="if ready then\n      call('ZADD', q.marker, 0, '1')",
        after="if ready then\n      call('EXISTS', q.marker)",
        tests=CONFORMANCE,
        test="test_as_many_processes_wake_as_there_are_jobs",
    ),
    Mutation(
        rule="marker re-add, after a refused fetch",
        file=f"{SCRIPTS}/fetch.lua",
        before="    answers[i] = {refused}\n    wake(q, now)\n",
        after="    answers[i] = {refused}\n",
        tests=f"{REDIS_TESTS}/test_marker.py",
        test="test_refused_fetch_leaves_the_wake_up",
    ),
    Mutation(
        rule="marker is gone with the last job",
        file=f"{SCRIPTS}/fetch.lua",
        before="  call('DEL', q.marker)\n",
        after="  call('PERSIST', q.marker)\n",
        tests=f"{REDIS_TESTS}/test_marker.py",
        test="test_fetch_that_takes_the_last_job_takes_the_wake_up",
    ),
    Mutation(
        rule="marker re-add, after other scripts",
        file=f"{SCRIPTS}/shared/wake.lua",
        before="and not timekeeper(q, now)) then\n    call('ZADD', q.marker, 0, '1')",
        after="and not timekeeper(q, now)) then\n    call('EXISTS', q.marker)",
        tests=f"{REDIS_TESTS}/test_marker.py",
        test="test_timekeeper_that_leaves_wakes_the_next_one",
    ),
    Mutation(
        rule="marker re-add, by who leaves",
        file=f"{SCRIPTS}/leave.lua",
        before="wake(q, now)\nreturn {'APPLIED'}",
        after="return {'APPLIED'}",
        tests=f"{REDIS_TESTS}/test_marker.py",
        test="test_timekeeper_that_leaves_wakes_the_next_one",
    ),
    Mutation(
        rule="byte bound",
        file=f"{SCRIPTS}/fetch.lua",
        before="if taken > 0 and bytes + #record > most_bytes then",
        after="if false then",
        tests=CONFORMANCE,
        test="test_records_of_one_fetch_stay_below_max_bytes",
    ),
    Mutation(
        rule="no conversion beside living workers",
        file=f"{SCRIPTS}/migrate/convert.lua",
        before="  if #found > 0 then",
        after="  if false then",
        tests=f"{REDIS_TESTS}/test_conversion.py",
        test="test_workers_that_may_still_run_are_named_and_nothing_is_changed",
    ),
    Mutation(
        rule="a lease for those that the server kept away",
        file=f"{SCRIPTS}/migrate/convert.lua",
        before="m.ends >= now or now < asked + m.lease",
        after="m.ends >= now",
        tests=f"{REDIS_TESTS}/test_conversion.py",
        test="test_nobody_is_taken_for_gone_right_after_the_server_was_away",
    ),
    Mutation(
        rule="leases of dead members under new names",
        file=f"{SCRIPTS}/migrate/convert.lua",
        before="    fence(members[i])",
        after="    call('HDEL', q.seq, members[i])",
        tests=f"{REDIS_TESTS}/test_conversion.py",
        test="test_worker_of_the_earlier_release_that_comes_back_changes_nothing",
    ),
    Mutation(
        rule="nobody works on a queue that is half converted",
        file=f"{SCRIPTS}/migrate/convert.lua",
        before="  call('SET', q.version, '1>2')",
        after="  call('SET', q.version, ARGV[2])",
        tests=f"{REDIS_TESTS}/test_conversion.py",
        test="test_another_process_goes_on_where_one_was_killed",
    ),
    Mutation(
        rule="producers store in queues of schema 1",
        file=f"{SCRIPTS}/shared/schema.lua",
        before="and not LIKE_OURS[version] then",
        after="then",
        tests=f"{REDIS_TESTS}/test_conversion.py",
        test="test_producers_need_not_wait_for_the_workers",
    ),
    Mutation(
        rule="a slot for each leased job of a limited task",
        file=f"{SCRIPTS}/fetch.lua",
        before="        many('ZADD', q.slots, slots)\n",
        after="",
        tests=CONFORMANCE,
        test="test_limit_holds_over_three_processes",
    ),
    Mutation(
        rule="a slot for each job with options",
        file=f"{SCRIPTS}/shared/record.lua",
        before="string.match(flags, '^h?r?x?$')",
        after="false",
        tests=CONFORMANCE,
        test="test_jobs_with_options_occupy_the_slots_of_their_task",
    ),
    Mutation(
        rule="expired jobs are gone",
        file="spinach_redis/requests.py",
        before='OutcomeKind.EXPIRED: b"S"',
        after='OutcomeKind.EXPIRED: b"L"',
        tests=CONFORMANCE,
        test="test_job_that_expired_or_was_cancelled_disappears",
    ),
    Mutation(
        rule="cancelled jobs are gone",
        file="spinach_redis/requests.py",
        before='OutcomeKind.CANCELLED: b"S"',
        after='OutcomeKind.CANCELLED: b"P"',
        tests=CONFORMANCE,
        test="test_job_that_expired_or_was_cancelled_disappears",
    ),
    Mutation(
        rule="what expired is not run",
        file="spinach/worker/worker.py",
        before="if options is not None and has_expired(options, self.clock):",
        after="if False:",
        tests=f"{CORE_TESTS}/test_expiry.py",
        test="test_what_expired_is_gone_and_never_in_the_failed_store",
    ),
    Mutation(
        rule="a job runs until the instant at which it expires",
        file="spinach/worker/expiry.py",
        before="// _MILLISECOND >= expires_ms",
        after="// _MILLISECOND > expires_ms",
        tests=f"{CORE_TESTS}/test_expiry.py",
        test="test_a_job_runs_before_its_instant_and_not_from_then_on",
    ),
    Mutation(
        rule="a gap is handed out to nobody",
        file=f"{SCRIPTS}/fetch.lua",
        before="if record and gaps[i] ~= 1 then",
        after="if record or gaps[i] == 1 then",
        tests=CONFORMANCE,
        test="test_cancelled_ready_job_is_gone",
    ),
    Mutation(
        rule="gaps are not counted",
        file=f"{SCRIPTS}/counts.lua",
        before="call('LLEN', q.ready) - call('SCARD', q.cancelled)",
        after="call('LLEN', q.ready)",
        tests=CONFORMANCE,
        test="test_cancelled_ready_job_is_gone",
    ),
    Mutation(
        rule="no gap at the head",
        file=f"{SCRIPTS}/fetch.lua",
        before="          q.gaps = close_up(q)\n",
        after="",
        tests=CONFORMANCE,
        test="test_what_follows_the_cancelled_jobs_is_taken",
    ),
    Mutation(
        rule="cancelled jobs wake nobody",
        file=f"{SCRIPTS}/cancel.lua",
        before="  call('DEL', q.marker)\n",
        after="  call('EXISTS', q.marker)\n",
        tests=f"{REDIS_TESTS}/test_marker.py",
        test="test_cancel_of_the_last_job_takes_the_wake_up_away",
    ),
    Mutation(
        rule="a slot for the next where one that came back is cancelled",
        file=f"{SCRIPTS}/cancel.lua",
        before="    bring_back(q, limit, 1)\n",
        after="",
        tests=f"{REDIS_TESTS}/test_marker.py",
        test="test_cancel_of_a_job_that_came_back_wakes_one_for_the_next",
    ),
    Mutation(
        rule="holes of lanes are counted",
        file=f"{SCRIPTS}/cancel.lua",
        before="    lane.holes = lane.holes + 1\n",
        after="",
        tests=CONFORMANCE,
        test="test_held_job_is_cancelled_and_takes_no_slot",
    ),
    Mutation(
        rule="what is cancelled goes back to no queue",
        file=f"{SCRIPTS}/report.lua",
        before=" or (asked[id] and BACK[kind]) then",
        after=" then",
        tests=CONFORMANCE,
        test="test_job_whose_cancel_was_asked_for_goes_back_to_no_queue",
    ),
    Mutation(
        rule="what is cancelled is not recovered",
        file=f"{SCRIPTS}/recover.lua",
        before="local asked = asked_of(q, first)",
        after="local asked = {}",
        tests=CONFORMANCE,
        test="test_lost_job_whose_cancel_was_asked_for_is_gone",
    ),
    Mutation(
        rule="a cancel is of one lease",
        file=f"{SCRIPTS}/shared/leased.lua",
        before="    many('HDEL', q.cancelling, ids)\n",
        after="",
        tests=CONFORMANCE,
        test="test_cancel_is_forgotten_with_the_lease",
    ),
    Mutation(
        rule="progress goes with the lease",
        file=f"{SCRIPTS}/shared/leased.lua",
        before="    many('HDEL', q.progress, ids)\n",
        after="",
        tests=CONFORMANCE,
        test="test_progress_is_kept_with_the_lease",
    ),
    Mutation(
        rule="progress of a lease that is current",
        file=f"{SCRIPTS}/beat.lua",
        before="if tokens[i] == ARGV[3 * i + 1] then",
        after="if tokens[i] then",
        tests=CONFORMANCE,
        test="test_progress_is_kept_with_the_lease",
    ),
    Mutation(
        rule="a page goes on where the last one ended",
        file=f"{SCRIPTS}/list.lua",
        before="      return {'scan', scan, unpack(rest_of(pending, done))}",
        after="      return {'scan', scan}",
        tests=CONFORMANCE,
        test="test_pages_of_many_jobs_tell_each_once",
    ),
    Mutation(
        rule="a result is kept with the outcome",
        file=f"{SCRIPTS}/report.lua",
        before="  keep_ends(q, now, now_up, ends)\n",
        after="",
        tests=CONFORMANCE,
        test="test_result_comes_back_byte_for_byte",
    ),
    Mutation(
        rule="each result has its own list",
        file=f"{SCRIPTS}/report.lua",
        before="      list = list + 1\n",
        after="",
        tests=CONFORMANCE,
        test="test_outcomes_of_one_call_keep_each_its_own_end",
    ),
    Mutation(
        rule="a lost job has an end",
        file=f"{SCRIPTS}/recover.lua",
        before="keep_ends(q, now, now_up, ends)\n",
        after="",
        tests=CONFORMANCE,
        test="test_job_that_recovery_fails_has_an_end",
    ),
    Mutation(
        rule="a retried job has none",
        file=f"{SCRIPTS}/revive.lua",
        before="  forget_ends(q, found)\n",
        after="",
        tests=CONFORMANCE,
        test="test_retried_job_has_not_ended_any_more",
    ),
    Mutation(
        rule="a former end is told to nobody",
        file=f"{SCRIPTS}/ends.lua",
        before="  call('DEL', list)\n",
        after="",
        tests=CONFORMANCE,
        test="test_wait_for_a_retried_job_is_not_told_its_former_end",
    ),
    Mutation(
        rule="results are kept for their time",
        file=f"{SCRIPTS}/ends.lua",
        before="<= now then\n    found = nil",
        after="< 0 then\n    found = nil",
        tests=CONFORMANCE,
        test="test_result_is_kept_as_long_as_it_was_asked_to",
    ),
    Mutation(
        rule="waits are not asked again",
        file=f"{SCRIPTS}/ends.lua",
        before="  call('ZADD', q.awaited, 'GT', string.format('%.0f', now + wait_ms), ids[1])\n",
        after="",
        tests=f"{REDIS_TESTS}/test_results.py",
        test="test_wait_is_one_script_and_one_command",
    ),
    Mutation(
        rule="waits go on while the server is full",
        file="spinach_redis/results.py",
        before="if fault_of(cause) is Fault.FULL:",
        after="if False:",
        tests=f"{REDIS_TESTS}/test_results.py",
        test="test_results_pass_and_are_waited_for_on_a_full_server",
    ),
    Mutation(
        rule="what is over goes with a beat",
        file=f"{SCRIPTS}/beat.lua",
        before="if take_sample(q, now) and call('EXISTS', q['results-until'], q.awaited) > 0 then",
        after="if take_sample(q, now) and false then",
        tests=f"{REDIS_TESTS}/test_results.py",
        test="test_what_is_over_is_dropped_by_the_calls_that_come",
    ),
    Mutation(
        rule="replicas know of results",
        file="spinach_redis/broker.py",
        before="            or any(o.keep_ms is not None for o in outcomes)\n",
        after="",
        tests=f"{REDIS_TESTS}/test_results.py",
        test="test_result_counts_as_reported_when_the_replica_has_it",
    ),
    Mutation(
        rule="results come back equal",
        file="spinach/record/payload.py",
        before="        if path[0] is _RESULT:\n",
        after="        if False:\n",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_value_that_would_not_come_back_equal_fails_the_job",
    ),
    Mutation(
        rule="what expired has an end",
        file="spinach/worker/worker.py",
        before="OutcomeKind.EXPIRED, lease, task.name, keep_ms=options.keep_ms",
        after="OutcomeKind.EXPIRED, lease, task.name",
        tests=f"{CORE_TESTS}/test_results.py",
        test="test_options_of_a_call_go_with_the_result_of_the_task",
    ),
    Mutation(
        rule="the end of a pause wakes who waits",
        file=f"{SCRIPTS}/pause.lua",
        before="wake(q, now)\n",
        after="",
        tests=CONFORMANCE,
        test="test_every_process_that_waits_gets_a_job_once_the_queue_goes_on",
    ),
    Mutation(
        rule="a purge is not made again by itself",
        file="spinach_redis/operating.py",
        before="limit, repeatable=False",
        after="limit",
        tests=f"{REDIS_TESTS}/test_operating.py",
        test="test_a_purge_whose_answer_was_lost_is_not_made_again",
    ),
    Mutation(
        rule="a purge forgets that jobs waited for a retry",
        file=f"{SCRIPTS}/purge.lua",
        before="  many('SREM', q.retrying, ids)\n",
        after="",
        tests=CONFORMANCE,
        test="test_purge_takes_the_jobs_of_its_status_and_no_others",
    ),
    Mutation(
        rule="purged jobs did not end",
        file=f"{SCRIPTS}/purge.lua",
        before="  call('HINCRBY', q.flow, 'purged', removed)\n",
        after="",
        tests=CONFORMANCE,
        test="test_purged_and_discarded_jobs_do_not_count_as_ended",
    ),
    Mutation(
        rule="a full server admits a purge",
        file=f"{SCRIPTS}/purge.lua",
        before="admit_when_full(q.ready)\n",
        after="call('HSETNX', q.flow, 'purged', 0)\n",
        tests=f"{REDIS_TESTS}/test_operating.py",
        test="test_a_full_server_admits_what_steers_a_queue",
    ),
    Mutation(
        rule="a limit that is set counts what runs",
        file=f"{SCRIPTS}/limit.lua",
        before="    occupy_leased(q, running, {[task] = true})\n",
        after="",
        tests=CONFORMANCE,
        test="test_task_without_limit_gets_one_and_counts_what_runs",
    ),
    Mutation(
        rule="a join leaves a paused periodic task paused",
        file=f"{SCRIPTS}/join.lua",
        before="    if due ~= NEVER then\n",
        after="    if true then\n",
        tests=CONFORMANCE,
        test="test_members_that_declare_a_paused_task_leave_it_paused",
    ),
    Mutation(
        rule="a clock that was set back is not the reason for a paused task",
        file=f"{SCRIPTS}/tick.lua",
        before="  if instant == NEVER then\n",
        after="  if false then\n",
        tests=CONFORMANCE,
        test="test_paused_periodic_task_is_neither_due_nor_fired",
    ),
    Mutation(
        rule="a paused periodic task is not due",
        file=f"{SCRIPTS}/counts.lua",
        before="if instant and instant < NEVER then",
        after="if instant then",
        tests=CONFORMANCE,
        test="test_paused_periodic_task_is_neither_due_nor_fired",
    ),
)
