"""The hand-over between arbiter, workers, notifier and a stop, under every order of
their steps in small cases (I1, I3, I17, I20)."""

from __future__ import annotations

from collections import Counter

import pytest

from spinach.brokers.calls import Verdict
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.record.header import header_line
from spinach.task import Tasks
from spinach.worker.buffer import LeasedJob
from spinach.worker.in_flight import InFlight
from spinach.worker.membership import Membership
from spinach.worker.wake_up import WakeUp

from .explorer import Deadlock, StoppedClock, explore
from .model import Eager

# Thousands of executions each: seconds on a free machine, minutes on a busy one.
pytestmark = pytest.mark.timeout(300)


class Case:
    """Scripted threads around a real hand-over.

    The arbiter puts the jobs in one by one, closes, and gives back what is left; the workers
    take, run and hand in until told to end; the notifier reports until nothing is left.

    Args:
        apart: the jobs come in on a thread of its own, so that the close finds some on their way.
        cancel: the cancel of the first job is asked for, on a thread of its own.
        stale: the first job has waited too long in the buffer, and is withdrawn.
        release: a task that sees the stop gives its job back.
        abandon: the stop has no grace.
    """

    def __init__(
        self, run, jobs, workers, *, lost_reports=0, drop=False, finish=False, apart=False,
        cancel=False, stale=False, release=False, abandon=False, in_flight=InFlight,
    ):  # fmt: skip
        clock = StoppedClock()
        self.wake_ups = [WakeUp(clock, run) for _ in range(3)]
        arbiter_wake_up, notifier_wake_up, self.subscriber_wake_up = self.wake_ups
        self.in_flight = in_flight(
            clock,
            Eager(2),
            wake_subscriber=lambda: None,
            wake_arbiter=arbiter_wake_up.set,
            wake_notifier=notifier_wake_up.set,
            hurry_notifier=lambda: None,
            on_cancelled=lambda lease: self.told.append(lease.stored_id),
            tell_empty=finish,
            sync=run,
        )
        tasks = Tasks()
        tasks.add(lambda: None, name="t")
        membership = Membership("q", 30.0)
        membership.member = "m"  # The same in each execution.
        membership.renewed(0.0)
        header = header_line(max_retries=1, queue="q", task="t")
        self.leased_jobs = [
            LeasedJob(Lease("q", membership.member, job, "1", True, header, 0), membership,
                       tasks.get("t"))
            for job in jobs
        ]  # fmt: skip
        self.member = membership.member
        self.jobs = jobs
        self.runs: Counter[str] = Counter()
        self.reported: Counter[tuple[str, OutcomeKind]] = Counter()
        self.released: list[str] = []
        self.lost_reports = lost_reports
        self.drop = drop
        self.finish = finish
        self.apart = apart
        self.given_back = self.ended = False
        self.told: list[str] = []
        self.cancel = cancel
        self.stale = stale
        self.release = release
        self.abandon = abandon
        self.asked = self.stopping = False
        run.thread("arbiter", self.arbiter)
        if cancel:
            run.thread("canceller", self.canceller)
        if apart:
            run.thread("subscriber", self.subscriber)
        run.thread("notifier", self.notifier)
        for number in range(workers):
            run.thread(f"worker-{number}", lambda number=number: self.worker(number))

    def put(self):
        for leased_job in self.leased_jobs:
            self.in_flight.put([leased_job])
        if self.drop:
            self.in_flight.drop(self.member)
        if self.stale:
            self.leased_jobs[0].arrived = -1e6
            self.in_flight.withdraw_stale()

    def canceller(self):
        self.in_flight.request_cancel([(self.jobs[0], "1")])
        self.asked = True

    def subscriber(self):
        self.put()
        self.subscriber_wake_up.wait(60)
        self.in_flight.give_back()
        self.given_back = True
        self.wake_ups[0].set()

    def arbiter(self):
        if not self.apart:
            self.put()
        while self.finish and not self.in_flight.empty:
            self.wake_ups[0].wait(60)
        self.stopping = True
        self.in_flight.close()
        if self.abandon:
            self.in_flight.abandon()
        if self.apart:
            self.subscriber_wake_up.set()
        else:
            self.in_flight.give_back()
            self.given_back = True
        while not self.given_back or self.in_flight.running or self.in_flight.unanswered:
            self.wake_ups[0].wait(60)
        self.in_flight.dissolve()
        self.ended = True
        self.wake_ups[1].set()

    def worker(self, number):
        outcome = None
        while (work := self.in_flight.exchange(number, outcome)) is not None:
            if not isinstance(work, LeasedJob):
                outcome = work()
                continue
            job = work.lease.stored_id
            self.runs[job] += 1
            if self.cancel and job == self.jobs[0]:
                assert self.in_flight.running  # A step in the middle of the job.
                assert work.cancelled or not self.asked, f"{job} does not hear of its cancel"
            kind = OutcomeKind.SUCCEEDED
            if self.release:
                assert self.in_flight.busy_workers  # A step in the middle of the job.
                kind = OutcomeKind.RELEASE if self.stopping else kind
            outcome = Outcome(kind, work.lease, "t")
        assert self.in_flight.late(number) is None

    def notifier(self):
        while not self.ended:
            outcomes = self.in_flight.collect((), 100)
            if not outcomes:
                self.wake_ups[1].wait(60)
                continue
            if self.lost_reports:
                self.lost_reports -= 1
                self.in_flight.answered([Verdict.UNKNOWN] * len(outcomes))
                continue
            for outcome in outcomes:
                self.reported[outcome.lease.stored_id, outcome.kind] += 1
            # As a store does: those of one report to the front, in their order.
            self.released[:0] = [
                outcome.lease.stored_id
                for outcome in outcomes
                if outcome.kind is OutcomeKind.RELEASE
            ]
            self.in_flight.answered([Verdict.APPLIED] * len(outcomes))

    def check(self):
        for job in self.jobs:
            ran = self.runs[job]
            done = self.reported[job, OutcomeKind.SUCCEEDED]
            back = self.reported[job, OutcomeKind.RELEASE]
            cancelled = self.reported[job, OutcomeKind.CANCELLED]
            assert ran <= 1, f"{job} ran {ran} times"
            if self.release or self.abandon:
                assert done <= ran, f"{job} ran {ran} times, and {done} outcomes were reported"
            else:
                assert done == ran, f"{job} ran, and its outcome was reported {done} times"
            if self.finish:
                assert done + cancelled == 1, f"{job} did not run although there was time"
                assert self.told.count(job) == cancelled, f"{job} was cancelled in silence"
            ends = done + back + cancelled
            if self.drop:
                assert ends <= 1
            else:
                assert ends == 1, f"{job} ended {ends} times"
        # What ran while the others were given back goes to the front of them.
        if not self.release:
            assert self.released == sorted(self.released), "releases lost their order"
        assert self.in_flight.empty


def program(jobs, workers, **options):
    def build(run):
        case = Case(run, jobs, workers, **options)
        return case, case.check

    return build


#: What is explored, and how many states there are at least: an exploration that sees
#: fewer has gone blind.
CASES = {
    "one job, one worker": ((["1a"], 1), {}, 1_000),
    "one job, two workers": ((["1a"], 2), {}, 6_000),
    "two jobs, one worker": ((["1a", "1b"], 1), {}, 3_000),
    "one job, one worker, and all the time it needs": ((["1a"], 1), {"finish": True}, 300),
    "a report without an answer": ((["1a"], 1), {"lost_reports": 1}, 1_500),
    "fenced while a worker takes it": ((["1a"], 1), {"drop": True}, 900),
    "jobs that come while it closes": ((["1a", "1b"], 0), {"apart": True}, 100),
    "cancelled while a worker takes it": ((["1a"], 1), {"cancel": True}, 4_000),
    "cancelled in time to hear of it": ((["1a"], 1), {"cancel": True, "finish": True}, 1_500),
    "cancelled while it is withdrawn": ((["1a"], 1), {"cancel": True, "stale": True}, 4_000),
    "cancelled while it is fenced": ((["1a"], 1), {"cancel": True, "drop": True}, 4_500),
    "cancelled while it comes": ((["1a", "1b"], 0), {"cancel": True, "apart": True}, 1_300),
    "given back by its task": ((["1a"], 1), {"release": True}, 1_000),
    "no grace": ((["1a"], 1), {"abandon": True}, 1_500),
    "given back by its task without a grace": (
        (["1a"], 1),
        {"release": True, "abandon": True},
        1_500,
    ),
    "given back by its task while it is cancelled": (
        (["1a"], 1),
        {"release": True, "cancel": True},
        4_000,
    ),
}


LARGE_CASES = {
    "two jobs, two workers": ((["1a", "1b"], 2), {}, 10_000),
    "two jobs, two workers, and all the time they need": (
        (["1a", "1b"], 2), {"finish": True}, 9_000,
    ),
    "given back by its task beside another": ((["1a", "1b"], 1), {"release": True}, 6_000),
}  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("sizes", "options", "at_least"), LARGE_CASES.values(), ids=LARGE_CASES)
def test_no_order_of_steps_in_larger_cases_does_either(sizes, options, at_least):
    report = explore(program(*sizes, **options))

    assert report.states >= at_least


# Nothing can hang here but the computing itself: on a busy machine it takes its time.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("sizes", "options", "at_least"), CASES.values(), ids=CASES)
def test_no_order_of_steps_loses_doubles_or_keeps_a_job(sizes, options, at_least):
    report = explore(program(*sizes, **options))

    assert report.states >= at_least


class NeverWakes(InFlight):
    def _wake_worker(self):
        pass


class WakesOneForAll(InFlight):
    """The thread that was woken does not wake the next one."""

    def exchange(self, worker, outcome=None):
        self._waking = True
        return super().exchange(worker, outcome)


class TakesTwice(InFlight):
    def _start(self, worker, now):
        leased_job = super()._start(worker, now)
        if leased_job is not None and self._idle:
            self._buffer.add([leased_job], now)
        return leased_job


class ForgetsOnClose(InFlight):
    def _withdraw_all(self):
        self._buffer.remove(list(self._buffer))


class ReleasesBackwards(InFlight):
    def _withdraw(self, items):
        super()._withdraw(list(items)[::-1])


class ForgetsUnanswered(InFlight):
    def answered(self, verdicts):
        return super().answered([Verdict.APPLIED] * len(verdicts))


class ClosesInSilence(InFlight):
    def close(self):
        with self._lock:
            self._closed = True


class GivesBackOnClose(InFlight):
    """Does not wait for what still comes in, which goes to the front of it."""

    def close(self):
        super().close()
        self.give_back()


class CancelsAndKeeps(InFlight):
    """What is cancelled stays in the buffer."""

    def _cancel_buffered(self, pairs):
        before = list(self._buffer)
        super()._cancel_buffered(pairs)
        if len(before) > len(self._buffer):
            self._buffer.add(before, self._clock.monotonic())


class OverlooksWhatRuns(InFlight):
    def request_cancel(self, pairs):
        with self._lock:
            self._cancel_early = set(pairs)
            self._cancel_buffered(self._cancel_early)


class OverlooksWhatComes(InFlight):
    def request_cancel(self, pairs):
        super().request_cancel(pairs)
        self._cancel_early = set()


class CancelsInSilence(InFlight):
    def _cancel_buffered(self, pairs):
        super()._cancel_buffered(pairs)
        self._callbacks.clear()


class AbandonsAndListens(InFlight):
    """What the thread says of an abandoned job counts as well."""

    def abandon(self):
        left = super().abandon()
        with self._lock:
            for item in left:
                item.abandoned = False
        return left


class AbandonsNothing(InFlight):
    """Lets go of jobs, and gives none back."""

    def _give_back(self, item):
        if item not in self._running.values():
            super()._give_back(item)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("broken", "sizes", "options"),
    [
        (NeverWakes, (["1a"], 1), {"finish": True}),
        (WakesOneForAll, (["1a"], 1), {"finish": True}),
        (TakesTwice, (["1a"], 2), {}),
        (ForgetsOnClose, (["1a"], 1), {}),
        (ReleasesBackwards, (["1a", "1b"], 1), {}),
        (ForgetsUnanswered, (["1a"], 1), {"lost_reports": 1}),
        (ClosesInSilence, (["1a"], 1), {}),
        (GivesBackOnClose, (["1a", "1b"], 0), {"apart": True}),
        (CancelsAndKeeps, (["1a"], 1), {"cancel": True}),
        (OverlooksWhatRuns, (["1a"], 1), {"cancel": True}),
        (OverlooksWhatComes, (["1a"], 1), {"cancel": True}),
        (CancelsInSilence, (["1a"], 1), {"cancel": True, "finish": True}),
        (AbandonsAndListens, (["1a"], 1), {"release": True, "abandon": True}),
        (AbandonsNothing, (["1a"], 1), {"release": True, "abandon": True}),
    ],
)
def test_a_broken_hand_over_is_found(broken, sizes, options):
    with pytest.raises((AssertionError, KeyError, Deadlock)):
        explore(program(*sizes, in_flight=broken, **options))
