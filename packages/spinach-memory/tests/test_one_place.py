"""Whatever processes do, and whenever they die, each job is in one place (I1)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spinach.brokers.calls import CancelVerdict, Place, Verdict
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.clock import VirtualClock
from spinach_testing.conformance import Process, deposit
from spinach_testing.conformance.deposits import task_of

if TYPE_CHECKING:
    from spinach_memory.queue import Queue

QUEUE = "letters"
TASKS = ("quick", "slow", "rare")
PARKED = ("quick", "slow")
kinds = st.sampled_from(list(OutcomeKind))
which = st.integers(0, 3)


class OnePlace(RuleBasedStateMachine):
    """Four processes at one queue; a process that is replaced dies without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.clock = VirtualClock()
        self.leases: list[Lease] = []
        self.cancelled: set[str] = set()
        self.started: Counter[str] = Counter()
        self.accepted = 0

    @initialize()
    def begin(self) -> None:
        self.processes = [self.new_process({}) for _ in range(4)]

    def new_process(self, limits: dict[str, int]) -> Process:
        broker = MemoryBroker(self.store, clock=self.clock)
        broker.bind("ns", object())
        process = Process(broker)
        process.join(limits=limits)
        return process

    @property
    def queue(self) -> Queue:
        return self.store.shelves().queue("ns", QUEUE)

    @rule(
        jobs=st.lists(
            st.tuples(st.sampled_from(TASKS), st.integers(0, 2), st.integers(0, 20)), max_size=6
        )
    )
    def enqueue(self, jobs: list[tuple[str, int, int]]) -> None:
        now_ms = round(self.clock.monotonic() * 1000) + 1_893_456_000_000
        self.processes[0].broker.enqueue(
            [
                deposit(task, max_retries=retries, due_ms=now_ms + wait * 1000)
                for task, retries, wait in jobs
            ]
        )
        self.accepted += len(jobs)

    @rule(
        who=which,
        limits=st.dictionaries(st.sampled_from(TASKS[1:]), st.integers(1, 3)),
    )
    def replace(self, who: int, limits: dict[str, int]) -> None:
        self.processes[who] = self.new_process(limits)

    @rule(who=which, idle=st.integers(0, 4), extra=st.integers(0, 4), size=st.integers(1, 400))
    def fetch(self, who: int, idle: int, extra: int, size: int) -> None:
        reply = self.processes[who].fetch(idle=idle, extra=extra, max_bytes=size, parks=PARKED)
        assert reply.more == bool(self.queue.ready or set(PARKED) & set(self.queue.parked))
        assert len(reply.leases) <= idle + extra
        assert sum(lease.direct for lease in reply.leases) <= idle
        for lease in reply.leases:
            assert lease.direct or lease.repeatable
        self.leases += reply.leases

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), kind=kinds)
    def report(self, data: st.DataObject, kind: OutcomeKind) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        if kind is OutcomeKind.RETRY and not lease.repeatable:
            kind = OutcomeKind.FAILED
        told = Outcome(kind, lease, task_of(lease), delay_ms=3000)
        process = self.processes[0]
        [verdict] = process.report(told)
        if verdict is Verdict.APPLIED and kind not in (OutcomeKind.RELEASE, OutcomeKind.PARK):
            self.started[lease.stored_id] += 1
            if not lease.repeatable:
                assert self.started[lease.stored_id] == 1
        assert process.report(told) == (Verdict.REFUSED,)

    @rule(seconds=st.integers(1, 14))
    def live(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        for process in self.processes:
            reply = process.beat()
            if reply.verdict is Verdict.FENCED:
                continue
            if reply.dead is not None:
                process.broker.recover(QUEUE, reply.dead)
            process.tick()

    @rule(who=which)
    def leave(self, who: int) -> None:
        if self.processes[who].leave().verdict is Verdict.APPLIED:
            self.processes[who] = self.new_process({})

    @rule()
    def look_after_the_failed(self) -> None:
        broker = self.processes[0].broker
        failed = [job.stored_id for job in broker.failed_jobs(QUEUE)]
        half = len(failed) // 2
        for stored_id in failed:
            self.started[stored_id] = 0
        assert broker.retry_failed(QUEUE, failed[:half]) == half
        assert broker.discard_failed(QUEUE, failed) == len(failed) - half

    @rule(first=st.integers(0, 30), count=st.integers(1, 4), step=st.integers(1, 3))
    def cancel(self, first: int, count: int, step: int) -> None:
        ids = list(self.queue.jobs)[first::step][:count]
        broker = self.processes[0].broker
        places = {job.stored_id: job.place for job in broker.find_jobs([QUEUE], ids)}
        for stored_id, reply in zip(ids, broker.cancel_jobs(QUEUE, ids), strict=True):
            place = places.get(stored_id)
            if place is Place.LEASED:
                assert reply.verdict is CancelVerdict.REQUESTED
            elif place is Place.FAILED:
                assert reply.verdict is CancelVerdict.FINISHED
            else:
                assert place is None or reply.verdict is CancelVerdict.CANCELLED
                self.cancelled.add(stored_id)

    @invariant()
    def cancelled_jobs_are_gone(self) -> None:  # I22
        assert not self.cancelled & set(self.queue.jobs)
        leased = {i for member in self.queue.members for i in member.running}
        assert set(self.queue.cancelling) <= leased

    @invariant()
    def lines_have_no_gap_at_their_head(self) -> None:
        queue = self.queue
        held = [slots.held for slots in queue.limits.tasks.values()]
        for line in (queue.ready, *queue.parked.values(), *held):
            assert line.gaps == sum(job.cancelled for job in line)
            assert not line or not line[0].cancelled
            assert bool(line) == bool(line.jobs)

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        queue = self.queue
        held = [slots.held for slots in queue.limits.tasks.values()]
        lines = (queue.ready, *queue.parked.values(), *held)
        places = [job.stored_id for line in lines for job in line if not job.cancelled]
        waiting = [entry[2] for entry in queue.future._heap if not entry[2].cancelled]
        assert len(queue.future) == len(waiting)
        places += [job.stored_id for job in waiting]
        places += [stored_id for member in queue.members for stored_id in member.running]
        places += list(queue.failed._entries)
        assert sorted(places) == sorted(queue.jobs)
        assert queue.enqueued == self.accepted
        assert queue._released == []

    @invariant()
    def slots_are_those_of_the_leased_jobs(self) -> None:  # I10
        queue = self.queue
        leased = [queue.jobs[i] for member in queue.members for i in member.running]
        for task, slots in queue.limits.tasks.items():
            name = b"|" + task.encode() + b"\n"
            assert slots.taken == sum(name in job.record for job in leased)
            assert slots.limit == min(slots.declared.values())
            # A job that waits for a slot has one to wait for, or was passed by nobody.
            if slots.held and slots.free:
                assert any(name in job.record for job in queue.ready)

    @invariant()
    def numbers_agree(self) -> None:
        queue = self.queue
        retries = [
            entry[2] for entry in queue.future._heap if entry[2].retries and not entry[2].cancelled
        ]
        assert queue.future.retrying == len(retries)
        assert not any(not park for park in queue.parked.values())


OnePlace.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestOnePlace = OnePlace.TestCase
