"""What many tests of the engine need: a clock that knows when all is quiet, brokers that
fail on demand, and ears for signals."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from spinach import Engine, Tasks, signals
from spinach.brokers.calls import (
    BeatReply,
    FetchReply,
    FireReply,
    JoinReply,
    ReconcileReply,
    RecoverReply,
    ReportReply,
    TickReply,
    TurnReply,
    Verdict,
)
from spinach.brokers.housekeeping import HousekeepingRole
from spinach.brokers.working import WorkingRole
from spinach.exc import BrokerUnavailable
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blinker import NamedSignal

    from spinach.brokers.base import Broker
    from spinach.job import Job

#: Real seconds after which a test gives up on something that has to happen.
PATIENCE = 20.0

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def wait_for(event: threading.Event, what: str = "the event") -> None:
    """Wait for an event that has to come."""
    assert event.wait(PATIENCE), f"{what} did not come"


def engine_threads(namespace: str) -> list[str]:
    """Names of the living threads of an engine."""
    return [t.name for t in threading.enumerate() if t.name.startswith(f"{namespace}-")]


class QuietClock(VirtualClock):
    """A virtual clock that can tell when every thread waits for it or for others.

    A thread counts as waiting from the moment it sleeps until it is notified, so that
    one that was woken and did not get the processor yet counts as awake.
    """

    def __init__(self) -> None:
        super().__init__()
        # Guards what follows, and is notified whenever a thread begins to wait.
        self._watch = threading.Condition()
        self._conditions: Counter[threading.Condition] = Counter()
        self._begun = 0

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        with self._watch:
            self._conditions[condition] += 1
            self._begun += 1
            self._watch.notify_all()
        try:
            return super().wait(condition, timeout_seconds)
        finally:
            with self._watch:
                self._conditions[condition] -= 1
                if not self._conditions[condition]:
                    del self._conditions[condition]
                # A condition with a timeout that is over already never slept.
                self._watch.notify_all()

    def _asleep(self) -> tuple[int, int]:
        with self._watch:
            begun, conditions = self._begun, list(self._conditions)
        count = 0
        for condition in conditions:
            with condition:
                # A notified thread has left this list, though it did not run yet.
                count += len(condition._waiters)
        return begun, count

    def until_quiet(self, threads: Callable[[], int]) -> None:
        """Return once that many threads wait and nobody can wake them but time.

        If no thread began to wait while they were counted, all of them slept at the
        beginning of the count, and only they could have woken each other.
        """
        give_up = time.monotonic() + PATIENCE
        while True:
            begun, asleep = self._asleep()
            with self._watch:
                if begun == self._begun:
                    if asleep == threads():
                        return
                    # The end of a thread, which also counts, notifies nobody.
                    self._watch.wait(0.01)
            assert time.monotonic() < give_up, f"{asleep} of {threads()} threads wait, for ever"


class Fixed:
    """A random source that takes the same fraction of every range."""

    def __init__(self, fraction: float = 1.0) -> None:
        self.fraction = fraction

    def uniform(self, a: float, b: float, /) -> float:
        return a + (b - a) * self.fraction


class Bench:
    """Engines on one store, on a clock that only `advance` turns."""

    def __init__(self) -> None:
        self.clock = QuietClock()
        self.store = MemoryStore()
        self.engines: list[Engine] = []
        self.brokers: dict[Engine, Broker] = {}
        #: Worker threads that a task holds on to, which do not wait at the clock.
        self.busy = 0

    def engine(
        self,
        tasks: Tasks | None = None,
        *,
        namespace: str = "bench",
        broker: Broker | None = None,
        **options: Any,
    ) -> Engine:
        """A further engine, which stands for a further process; it waits as long as it may."""
        options.setdefault("random_source", Fixed())
        broker = broker or MemoryBroker(self.store, clock=self.clock)
        engine = Engine(broker, namespace, **options)
        if tasks is not None:
            engine.attach_tasks(tasks)
        self.engines.append(engine)
        self.brokers[engine] = broker
        return engine

    def counts(self, engine: Engine, queue: str = "spinach") -> Any:
        """What a queue of this engine holds."""
        (counts,) = self.brokers[engine].counts([queue])
        return counts

    def settle(self) -> None:
        """Let the threads do everything that can be done at this instant."""
        names = {engine.namespace for engine in self.engines}
        self.clock.until_quiet(lambda: sum(len(engine_threads(n)) for n in names) - self.busy)

    def advance(self, by: timedelta, step: timedelta = timedelta(seconds=1)) -> None:
        """Let time pass in steps, so that heartbeats keep up with it."""
        self.settle()
        left = by
        while left > timedelta(0):
            part = min(step, left)
            self.clock.advance(part)
            self.settle()
            left -= part

    def close(self) -> None:
        """Stop what still runs."""
        for engine in self.engines:
            engine.stop_workers(_join_arbiter=False)
        for engine in self.engines:
            engine.stop_workers()


class Ear:
    """Hears the signals of one namespace, in order."""

    ALL = (
        signals.job_started,
        signals.job_schedule_retry,
        signals.job_failed,
        signals.job_cancelled,
        signals.job_expired,
        signals.job_overdue,
        signals.job_finished,
        signals.worker_started,
        signals.worker_terminated,
    )

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._receivers: list[tuple[NamedSignal, Callable[..., None]]] = []

    def __enter__(self) -> Self:
        for signal in self.ALL:
            receiver = self._receiver(signal.name)
            self._receivers.append((signal, receiver))
            signal.connect(receiver, sender=self.namespace)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for signal, receiver in self._receivers:
            signal.disconnect(receiver, sender=self.namespace)
        if kind is None:
            # Every signal says where its job comes from.
            named = {kwargs["job"].namespace for _, kwargs in self.heard if "job" in kwargs}
            assert named <= {self.namespace}
        # blinker keeps a receiver that had a sender until it is collected. Freed at once, it
        # makes no later test's jobs dearer: those are counted.
        self._receivers.clear()

    def _receiver(self, name: str) -> Callable[..., None]:
        def receive(namespace: str, **kwargs: Any) -> None:
            self.heard.append((name, {"namespace": namespace, **kwargs}))

        return receive

    @property
    def jobs(self) -> list[tuple[str, str]]:
        """(signal, status) of each signal about a job."""
        return [(name, kw["job"].status.name) for name, kw in self.heard if "job" in kw]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Arguments of each signal of that name."""
        return [kwargs for heard, kwargs in self.heard if heard == name]


class Tally:
    """Counts which calls were made, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: list[Any] = []

    def add(self, item: Any) -> None:
        with self._lock:
            self.calls.append(item)

    def __len__(self) -> int:
        return len(self.calls)


UNANSWERED = BrokerUnavailable("The test cut the line.")

#: What a caller gets of each call that a worker process makes, when its answer is lost.
_UNKNOWN: dict[str, Callable[..., Any]] = {
    "join": lambda *_: JoinReply(verdict=Verdict.UNKNOWN, error=UNANSWERED),
    "fetch": lambda turns: [FetchReply(verdict=Verdict.UNKNOWN, error=UNANSWERED)] * len(turns),
    "beat": lambda turns, _progress: (
        [BeatReply(verdict=Verdict.UNKNOWN, error=UNANSWERED)] * len(turns)
    ),
    "reconcile": lambda *_: ReconcileReply(verdict=Verdict.UNKNOWN, error=UNANSWERED),
    "leave": lambda *_: TurnReply(verdict=Verdict.UNKNOWN, error=UNANSWERED),
    "report": lambda outcomes: ReportReply(
        verdicts=(Verdict.UNKNOWN,) * len(outcomes), error=UNANSWERED
    ),
    "tick": lambda *_: TickReply(verdict=Verdict.UNKNOWN, error=UNANSWERED),
    "fire": lambda *_: FireReply(verdict=Verdict.UNKNOWN, error=UNANSWERED),
    "recover": lambda *_: RecoverReply(verdict=Verdict.UNKNOWN, error=UNANSWERED),
}


class FlakyBroker(MemoryBroker):
    """A memory broker behind a line that a plan cuts.

    The plan is asked for each call of a worker and answers None (let it pass),
    "before" (the call never arrives) or "after" (it is carried out, its answer is
    lost), or an exception to raise.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        plan: Callable[[str], str | BaseException | None],
        **options: Any,
    ) -> None:
        super().__init__(store, **options)
        self._plan = plan
        self.cut: Counter[tuple[str, str]] = Counter()


def _on_the_line(name: str, unknown: Callable[..., Any]) -> Callable[..., Any]:
    whole = getattr(MemoryBroker, name)

    def call(self: FlakyBroker, *args: Any, **kwargs: Any) -> Any:
        fate = self._plan(name)
        if isinstance(fate, BaseException):
            raise fate
        if fate is None:
            return whole(self, *args, **kwargs)
        self.cut[name, fate] += 1
        if fate == "after":
            whole(self, *args, **kwargs)
        return unknown(*args)

    return call


# An interrupt has no answer that could get lost.
for _name in WorkingRole.__abstractmethods__ | HousekeepingRole.__abstractmethods__:
    if _name != "interrupt":
        setattr(FlakyBroker, _name, _on_the_line(_name, _UNKNOWN[_name]))


def run_python(
    program: str, *options: str, timeout: float = 50, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own; its failure is the test's."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def job_ids(jobs: Sequence[Job]) -> list[str]:
    """Ids as text, as log records and stores have them."""
    return [str(job.id) for job in jobs]
