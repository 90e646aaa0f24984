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
