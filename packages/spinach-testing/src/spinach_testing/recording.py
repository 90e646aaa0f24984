"""Everything that is recorded about one engine during one test."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from spinach import signals
from spinach.brokers.base import Broker
from spinach.clock import to_ms
from spinach.current import RUNNING
from spinach.exc import BrokerError
from spinach.job import JobStatus
from spinach.support.realtime import time

from . import listing
from .clock import VirtualClock
from .errors import DrainTimeout
from .failures import Failures
from .ledger import Ledger
from .recorder import RecordingBroker
from .running import RunningJobs

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from spinach import Engine, Job

    from .ledger import Entry

__all__ = ["Recording", "recording"]

#: Real seconds that jobs which are about to begin get beyond a timeout.
_MOMENT_SECONDS = 3.0

#: If no thread runs a job, jobs in these states are about to be run.
_ABOUT_TO_BEGIN = (JobStatus.QUEUED, JobStatus.RUNNING)


class Recording:
    """Jobs, running jobs and failures of an engine; thread safe.

    Args:
        engine: whose broker is a recorder, or becomes one for the block of `recording`.
        ledger: of that recorder.
    """

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        self.engine = engine
        self.ledger = ledger
        self.running = RunningJobs()
        self.failures = Failures(self._as_written)
        #: Members that were crashed, and their queues. Their jobs do not count as running,
        #: although the store takes these members for alive until their lease ends.
        self.crashed: dict[str, str] = {}
        #: Called in the worker thread before each job, if set.
        self.gate: Callable[[], None] | None = None
        #: Threads that an error of the test has named already, because their jobs hang.
        self.told_threads: set[threading.Thread] = set()
        # Errors about hanging jobs, each with the threads that it names.
        self._hangs: list[tuple[DrainTimeout, set[threading.Thread]]] = []

    @property
    def broker(self) -> Broker:
        """The broker that the engine uses at this time."""
        return self.engine._broker  # noqa: SLF001 - both are Spinach's own

    @property
    def now_ms(self) -> int:
        """The broker's clock, in ms since 1970."""
        return to_ms(self.broker.clock.now())

    def listing(self) -> str:
        """Every job of the test, one line each."""
        return listing.lines(self.ledger.entries(), self.now_ms)

    def advice(self, entries: Iterable[Entry] | None = None) -> str:
        """What to call to run the jobs that are ready, as a line below the listing; empty if
        none are.

        Args:
            entries: that are listed; None: all.
        """
        entries = self.ledger.entries() if entries is None else entries
        found = [each for each in entries if each.status is JobStatus.QUEUED and not each.parked]
        ready = len(found)
        pool = self.engine._pool  # noqa: SLF001 - both are Spinach's own
        at_work = pool is not None and pool.running
        if not ready or (at_work and isinstance(self.broker.clock, VirtualClock)):
            return ""  # spinach_worker is running them
        call = (
            "spinach_live_worker.wait_idle() waits for"
            if at_work
            else "spinach_worker.drain() runs"
        )
        which, them = ("job is", "it") if ready == 1 else ("jobs are", "them")
        paused = self._paused({each.queue for each in found})
        once = "".join(
            f", once spinach_engine.queues.resume({each!r}) was called" for each in paused
        )
        return f"\n{ready} {which} ready to run. {call} {them}{once}."

    def _paused(self, queues: Iterable[str]) -> list[str]:
        """Those of the queues that are paused, as far as the store tells."""
        try:
            return [queue for queue in sorted(queues) if self.broker.survey(queue).paused]
        except BrokerError:
            return []  # what is being reported is more than this

    def _as_written(self, task: str) -> str:
        """A task as a test would write it: its function, or the name if that has no name itself."""
        found = self.engine._task_table.by_name.get(task)  # noqa: SLF001 - both are Spinach's own
        name = getattr(found and found.func, "__name__", "")
        path = getattr(found and found.func, "__qualname__", "")
        # Not what belongs to a class: its name alone would name nothing.
        if name.isidentifier() and path.rpartition("<locals>.")[2] == name:
            return name
        return repr(task)

    # -- hangs -------------------------------------------------------------

    def out_of_time(self, end: float) -> bool:
        """Whether a timeout has passed.

        On a busy machine it may pass while threads are about to begin the first job. They get a
        moment more, since an error that names no running job helps nobody.

        Args:
            end: of the timeout, in real seconds of `time.monotonic`.
        """
        now = time.monotonic()
        if now <= end or now > end + _MOMENT_SECONDS or self.running.threads():
            return now > end
        return not any(
            each.status in _ABOUT_TO_BEGIN and not each.parked for each in self.ledger.entries()
        )

    def timed_out(self, seconds: float, rest: str) -> DrainTimeout:
        """The error for jobs that still run.

        Args:
            seconds: real, that they had.
            rest: a list of other jobs, with a heading.
        """
        awaited = self.ledger.awaited.report(self._line)
        waiting = f"Waiting for jobs:\n{awaited}\n" if awaited else ""
        error = DrainTimeout(
            f"Jobs were not done after {seconds} s. Running:\n{self.running.report()}\n{waiting}"
            f"{rest}"
        )
        self._hangs.append((error, self.running.threads()))
        return error

    def told(self, error: BaseException) -> None:
        """The test has failed with this error: do not report its hanging jobs again."""
        shown = {id(each) for each in _shown_with(error)}
        for hang, threads in self._hangs:
            if id(hang) in shown:
                self.told_threads |= threads

    def _line(self, stored_id: str) -> str | None:
        """A job of a stored id, on one line; None: it is not of this test."""
        for entry in self.ledger.entries():
            if entry.stored_id == stored_id:
                return listing.line(entry, self.now_ms)
        return None

    # -- receivers of signals ----------------------------------------------

    def _entry(self, sender: object, job: Job) -> Entry | None:
        """The record of a job; None: the job is not of this test.

        The namespace is not enough: an engine of the user keeps it through many tests, and a
        job that hung in one of them may end in the next.
        """
        return self.ledger.find(job) if sender == self.engine.namespace else None

    def _on_started(self, sender: object, *, job: Job, **_: object) -> None:
        entry = self._entry(sender, job)
        if entry is None:
            return
        self.running.start(job, counts=not entry.fired)
        if (running := RUNNING.get(None)) is not None:
            entry.attempt = running[0]
        if self.gate is not None:
            self.gate()

    def _on_finished(self, _: object, **__: object) -> None:
        self.running.end()

    def _on_failed(self, sender: object, *, job: Job, err: BaseException, **_: object) -> None:
        if self._entry(sender, job) is not None:
            self.failures.raised(job, err, final=True)

    def _on_retry(self, sender: object, *, job: Job, err: BaseException, **_: object) -> None:
        if self._entry(sender, job) is not None:
            # The signal has the job as it waits for its next attempt.
            failed = msgspec.structs.replace(job, retries=job.retries - 1)
            self.failures.raised(failed, err, final=False)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        # To all senders. Blinker keeps a record of each sender that was ever connected to, and
        # walks through all of them at a disconnect; each test has a namespace of its own.
        with ExitStack() as stack:
            for signal, receiver in (
                (signals.job_started, self._on_started),
                (signals.job_finished, self._on_finished),
                (signals.job_failed, self._on_failed),
                (signals.job_schedule_retry, self._on_retry),
            ):
                stack.enter_context(signal.connected_to(receiver))
            yield


def _shown_with(error: BaseException) -> Iterator[BaseException]:
    """All errors that pytest prints with one: members of groups, causes and contexts."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [led for led in (each.__cause__, each.__context__) if led is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


@contextmanager
def recording(engine: Engine) -> Iterator[Recording]:
    """Record an engine for the block, through its broker and its signals.

    Raises:
        WorkersRunning: it has workers already.
    """
    inner = engine._broker  # noqa: SLF001 - both are Spinach's own
    ledger = Ledger(engine.namespace)
    recorded = Recording(engine, ledger)
    with (
        engine.using_broker(RecordingBroker(inner, ledger)),
        recorded._listening(),  # noqa: SLF001 - the other half
        _other_brokers_recorded(engine, ledger),
    ):
        yield recorded


@contextmanager
def _other_brokers_recorded(engine: Engine, ledger: Ledger) -> Iterator[None]:
    """For the block, also record brokers that the test itself gives to the engine.

    Otherwise jobs on such a broker would be missing, and `assert_not_scheduled` could pass for
    the wrong reason.
    """
    plain, before = engine.using_broker, vars(engine).get("using_broker")

    @contextmanager
    def using_broker(broker: Broker) -> Iterator[Broker]:
        # The engine refuses anything that is no broker.
        under = RecordingBroker(broker, ledger) if isinstance(broker, Broker) else broker
        with plain(under):
            yield broker

    vars(engine)["using_broker"] = using_broker
    try:
        yield
    finally:
        if before is None:
            del vars(engine)["using_broker"]
        else:
            vars(engine)["using_broker"] = before
