"""A worker process in small, built from the engine's own parts on controlled locks."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from spinach.brokers.calls import (
    BeatReply,
    FetchReply,
    FireReply,
    JoinReply,
    QueueCounts,
    ReconcileReply,
    RecoverReply,
    ReportReply,
    TickReply,
    TurnReply,
    Verdict,
)
from spinach.exc import BrokerUnavailable
from spinach.outcome import Lease, OutcomeKind
from spinach.record.header import header_line
from spinach.record.payload import complete_payload, encode_arguments
from spinach.task import Tasks
from spinach.worker.arbiter import Arbiter
from spinach.worker.conditions import Conditions
from spinach.worker.declaration import declare
from spinach.worker.fetching import Fetching
from spinach.worker.in_flight import InFlight
from spinach.worker.keep_alive import KeepAlive
from spinach.worker.memberships import Memberships
from spinach.worker.notifier import ResultNotifier
from spinach.worker.overdue import Overdue
from spinach.worker.prefetch import Prefetch
from spinach.worker.subscriber import Subscriber
from spinach.worker.wake_up import WakeUp
from spinach.worker.worker import Worker
from spinach_memory import MemoryBroker
from spinach_testing.passing import PassingBroker

from .explorer import Run, StoppedClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.outcome import Outcome

APPLIED = Verdict.APPLIED


class ModelBroker(PassingBroker):
    """One queue, atomic calls, and a log of what happened to each job.

    Has what a worker process calls; all else goes to a broker that nobody looks at.

    Args:
        run: the blocking fetch waits on its locks.
        jobs: `1a` may repeat, `0b` runs at most once; ready from the start.
        lose: numbers of the fetches whose answer gets lost.
        lose_reports: numbers of the reports whose answer gets lost.
    """

    def __init__(
        self, run: Run, jobs: Sequence[str] = (), *, lose: Sequence[int] = (),
        lose_reports: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__(MemoryBroker(clock=StoppedClock()))
        self.bind("model", run)
        self._lock = run.Lock()
        self._news = run.Condition(self._lock)
        self._interrupted = False
        self.ready = list(jobs)
        self.leased: dict[str, str] = {}
        self.ended: Counter[str] = Counter()
        self.released: list[str] = []
        self.left: set[str] = set()
        self._lose, self._fetches = lose, 0
        self._lose_reports, self._reports = lose_reports, 0
        self._token = 0

    def add(self, *jobs: str) -> None:
        with self._news:
            self.ready.extend(jobs)
            self._news.notify()

    def fetch(self, turns, *, idle, extra, max_bytes, block_seconds=0.0):
        (turn,) = turns
        if block_seconds:
            with self._news:
                while not self.ready and not self._interrupted:
                    self._news.wait()
                self._interrupted = False
                leases = self._take(turn.member, idle, extra)
        else:
            with self._lock:
                leases = self._take(turn.member, idle, extra)
        self._fetches += 1
        if self._fetches in self._lose:
            return [FetchReply(verdict=Verdict.UNKNOWN, error=BrokerUnavailable("lost"))]
        return [FetchReply(verdict=APPLIED, leases=tuple(leases), more=bool(self.ready))]

    def _take(self, member: str, idle: int, extra: int) -> list[Lease]:
        leases = []
        while self.ready and len(leases) < idle + extra:
            direct = len(leases) < idle
            if not direct and self.ready[0][0] == "0":
                break
            self._token += 1
            job = self.ready.pop(0)
            leases.append(self._lease(member, job, str(self._token), direct))
            self.leased[job] = str(self._token)
        return leases

    @staticmethod
    def _lease(member: str, job: str, token: str, direct: bool) -> Lease:
        header = header_line(max_retries=int(job[0]), queue="q", task="t")
        payload = complete_payload(
            encode_arguments([job], {}, task="t"), 0, limit_bytes=1000, task="t"
        )
        return Lease("q", member, job, token, direct, header + payload, 0)

    def interrupt(self) -> None:
        with self._news:
            self._interrupted = True
            self._news.notify_all()

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        verdicts = []
        with self._news:
            releases = []
            for outcome in outcomes:
                lease = outcome.lease
                if self.leased.get(lease.stored_id) != lease.token:
                    verdicts.append(Verdict.REFUSED)
                    continue
                verdicts.append(APPLIED)
                del self.leased[lease.stored_id]
                if outcome.kind is OutcomeKind.RELEASE:
                    releases.append(lease.stored_id)
                    self.released.append(lease.stored_id)
                else:
                    self.ended[lease.stored_id] += 1
            self.ready[:0] = releases
            if releases:
                self._news.notify()
        self._reports += 1
        if self._reports in self._lose_reports:
            lost = (Verdict.UNKNOWN,) * len(outcomes)
            return ReportReply(verdicts=lost, error=BrokerUnavailable("lost"))
        return ReportReply(verdicts=tuple(verdicts))

    def reconcile(self, turn, held):
        with self._lock:
            known = dict(held)
            missing = [
                self._lease(turn.member, job, token, False)
                for job, token in self.leased.items()
                if known.get(job) != token
            ]
            strays = [pair for pair in held if self.leased.get(pair[0]) != pair[1]]
        return ReconcileReply(verdict=APPLIED, missing=tuple(missing), strays=tuple(strays))

    def leave(self, turn):
        with self._lock:
            if self.leased:
                return TurnReply(verdict=Verdict.REFUSED)
            self.left.add(turn.member)
        return TurnReply(verdict=APPLIED)

    def counts(self, queues):
        with self._lock:
            return [
                QueueCounts(
                    verdict=APPLIED, queue="q", ready=len(self.ready), leased=len(self.leased)
                )
            ]

    # These have no part in what happens to the jobs here.

    def join(self, queue, member, enrolment):
        return JoinReply(verdict=APPLIED)

    def beat(self, turns, progress=()):
        return [BeatReply(verdict=APPLIED) for _ in turns]

    def tick(self, queue, periodic):
        return TickReply(verdict=APPLIED)

    def fire(self, queue, task, due_ms, deposit):
        return FireReply(verdict=APPLIED)

    def recover(self, queue, dead):
        return RecoverReply(verdict=APPLIED)


class NoJitter:
    """Backoffs of no length: time stands still, so that others would never end."""

    def uniform(self, a: float, b: float, /) -> float:
        return 0.0


class NoPause(WakeUp):
    """In place of the moment between two reports, which is over at once."""

    def wait(self, timeout_seconds: float) -> bool:
        return False


class Eager(Prefetch):
    """A prefetch that always wants jobs for the buffer."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def room(self, threads: int) -> int:
        return self._room


class Process:
    """The threads of a worker process, wired as `spinach.worker.pool` wires them.

    Args:
        run: to put them on.
        broker: their broker.
        workers: how many.
        room: of the buffer.
        stop_when_empty: as in `start_workers`.
        in_flight: the class to use; tests of the tests break it.
    """

    def __init__(
        self,
        run: Run,
        broker: ModelBroker,
        *,
        workers: int,
        room: int = 0,
        stop_when_empty: bool = False,
        in_flight: type[InFlight] = InFlight,
    ) -> None:
        self.broker = broker
        self.runs: Counter[str] = Counter()
        tasks = Tasks()
        tasks.add(self._task, name="t", queue="q")
        sync: Any = run
        clock = broker.clock
        arbiter_wake_up, notifier_wake_up, subscriber_wake_up = (
            WakeUp(clock, sync) for _ in range(3)
        )
        ending = threading.Event()
        self.in_flight = in_flight(
            clock,
            Eager(room),
            wake_subscriber=subscriber_wake_up.set,
            wake_arbiter=arbiter_wake_up.set,
            wake_notifier=notifier_wake_up.set,
            hurry_notifier=lambda: None,
            tell_empty=stop_when_empty,
            sync=sync,
        )
        memberships = Memberships(
            lambda _: declare(tasks.tasks, ["q"], lease_ms=30_000, info={}),
            self.in_flight,
            NoJitter(),
        )
        (membership,) = memberships.all
        membership.member = "m"  # The same in each execution.
        conditions = Conditions(broker, lambda name: name == "t")
        parts = (broker, memberships, self.in_flight, conditions)
        keep_alive = KeepAlive(*parts, lambda job: None)
        fetching = Fetching(*parts, wake_arbiter=arbiter_wake_up.set, on_lost=lambda job: None)
        keep_alive.step()
        subscriber = Subscriber(
            clock, fetching, self.in_flight, subscriber_wake_up, ending,
            stop_when_empty=stop_when_empty, wake_arbiter=arbiter_wake_up.set,
        )  # fmt: skip
        self.subscriber = subscriber
        self.memberships = memberships
        self.wake_ups = (arbiter_wake_up, notifier_wake_up, subscriber_wake_up)
        self.arbiter = Arbiter(
            broker, memberships, keep_alive, fetching, self.in_flight, subscriber,
            Overdue("model", clock, self.in_flight, lambda worker: None), arbiter_wake_up,
            stop_when_empty=stop_when_empty, grace=None, reporting=lambda: True,
        )  # fmt: skip
        notifier = ResultNotifier(
            broker, self.in_flight, notifier_wake_up, ending, NoJitter(), hurry=NoPause(clock)
        )

        def lead() -> None:
            self.arbiter.run()
            ending.set()
            notifier_wake_up.set()
            subscriber_wake_up.set()

        run.thread("arbiter", lead)
        run.thread("notifier", notifier.run)
        subscriber.open()
        run.thread("subscriber", subscriber.run)
        for number in range(1, workers + 1):
            worker = Worker(
                number, f"w{number}", "model", broker, self.in_flight,
                stopping=lambda: self.arbiter.stopping,
            )  # fmt: skip
            run.thread(f"worker-{number}", worker.run)

    def _task(self, job: str) -> None:
        self.runs[job] += 1

    def check(self, jobs: Sequence[str]) -> None:
        """Nothing lost, nothing doubled, nothing kept (I1, I3, I4, I17, I20)."""
        assert not self.broker.leased, f"still leased: {self.broker.leased}"
        for job in jobs:
            assert self.runs[job] <= 1, f"{job} ran {self.runs[job]} times"
            assert self.broker.ended[job] == self.runs[job], f"{job} ran, and was not reported"
            places = self.broker.ended[job] + self.broker.ready.count(job)
            assert places == 1, f"{job} stands in {places} places"
        assert self.broker.left, "the membership was not ended"
        assert self.in_flight.empty
