"""The worker of a test: production threads that run just while the test waits.

Who owns what:

| | owner |
|---|---|
| threads | one call: they start in it, and end in it |
| time | the test between calls; during one its thread turns the clock, a task cannot |
| failures | pending until a call returns, which raises or returns them, once |
| a job that hangs | its thread, a daemon; the call ends at its timeout and names it |
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from spinach.clock import from_ms, to_ms
from spinach.exc import InvalidArgument, WorkersRunning
from spinach.support.checks import require_int, require_timedelta

from .clock import VirtualClock, require_span
from .crash import Crash
from .errors import DrainTimeout
from .failures import require_on_failure
from .graceful import stop_while_running
from .raising import raise_all
from .session import session
from .timeouts import require_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach import Job

    from .failures import OnFailure
    from .recording import Recording
    from .session import Session

__all__ = ["DrainTimeout", "TestWorker"]

#: Attempts that `run_until_finished` makes by default.
_MOST_JOBS = 1000

#: Virtual time that it lets pass by default.
_MOST_VIRTUAL = timedelta(days=366)


class TestWorker:
    """Runs an engine's jobs in real worker threads while the test waits.

    Between calls nothing executes. One test uses it from one thread at a time.

    Every call takes `timeout`, real seconds that jobs get until nothing is left to do,
    counted anew at each turn of the clock, and `on_failure`: whether attempts that
    raised fail the test ("raise") or are returned ("collect"; for `crash` see there).
    None takes the mark's or the configured number.

    Every call raises:

    - `DrainTimeout`: jobs still run; names them and shows their stacks.
    - `UnfinishedJobs`: a task stopped the workers.
    - `WorkersRunning`: called inside a task, or the engine has workers already.
    - `InvalidArgument`: an argument that makes no sense, before anything runs.
    - what an attempt raised; several as an ExceptionGroup. `TaskRaised` stands for what
      pytest would not count as a failure.

    Args:
        recording: of the engine whose tasks and queues are served.
        workers: threads, unless a call says otherwise.
        timeout: real seconds, unless a call says otherwise.
    """

    __test__ = False  # pytest would take the name for a test class

    def __init__(self, recording: Recording, *, workers: int = 5, timeout: float = 10.0) -> None:
        self._recording = recording
        self._workers = workers
        self._timeout = timeout
        # A call is going on; set before its threads start, since a task may ask at once.
        self._active = False

    def drain(
        self,
        *,
        workers: int | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "raise",
    ) -> list[BaseException]:
        """Run jobs until nothing is ready, running or due, jobs made by jobs included.

        Jobs for the future, retries that wait, and jobs whose task is unknown stay.

        Args:
            workers: threads.
            timeout: see the class.
            on_failure: see the class.

        Returns:
            What attempts raised, with `collect`.
        """
        __tracebackhide__ = True
        seconds = require_timeout(timeout, self._timeout)
        with (
            self._call("drain", on_failure) as told,
            self._session(workers, seconds) as running,
        ):
            self._until_idle(running)
        return told

    def advance(
        self,
        by: timedelta,
        *,
        workers: int | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "raise",
    ) -> list[BaseException]:
        """Drain, then move the clock from one due job or tick to the next, draining
        at each, until so much time has passed.

        Args:
            by: virtual; not negative. The clock stops at a whole millisecond, the next
                one if need be.
            workers: threads.
            timeout: see the class.
            on_failure: see the class.

        Raises:
            InvalidArgument: not a timedelta, negative, or beyond the year 9998; the
                broker's clock cannot be turned.
        """
        __tracebackhide__ = True
        seconds = require_timeout(timeout, self._timeout)
        require_span(by)
        clock = self._clock()
        clock.require_turn(by)
        with self._call("advance", on_failure) as told:
            # Stores count milliseconds, rounded up: what is due then has to be reached.
            target = from_ms(to_ms(clock.now() + by))
            with self._session(workers, seconds) as running:
                while True:
                    counts = self._until_idle(running)
                    left = target - clock.now()
                    if left <= timedelta(0):
                        break
                    running.turn(min(left, running.next_step(counts)))
        return told

    def run_until_finished(
        self,
        *,
        max_jobs: int = _MOST_JOBS,
        max_virtual: timedelta = _MOST_VIRTUAL,
        workers: int | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "raise",
    ) -> list[BaseException]:
        """Let time pass until no job is left: all retries made, all future jobs run.

        Periodic tasks fire meanwhile; they alone keep nothing going. Jobs whose task is
        unknown are left.

        Args:
            max_jobs: attempts that may be made; one more fails the test, because jobs
                make ever more jobs. Runs that the clock makes of periodic tasks do not count.
            max_virtual: time after which it fails, because jobs lie too far ahead. The
                clock goes no further than the year 9998 in any case.
            workers: threads.
            timeout: see the class.
            on_failure: see the class.

        Raises:
            UnfinishedJobs: one of the two was used up; lists what is left.
            InvalidArgument: a limit that makes no sense.
        """
        __tracebackhide__ = True
        seconds = require_timeout(timeout, self._timeout)
        require_int(max_jobs, "max_jobs", 1, 10**9)
        require_timedelta(max_virtual, "max_virtual", timedelta(0))
        clock = self._clock()
        with self._call("run_until_finished", on_failure) as told:
            most = min(max_virtual, clock.room)
            end = clock.now() + most
            # Counted before the threads start, since they begin at once.
            most_attempts = self._recording.running.started + max_jobs
            with self._session(workers, seconds) as running:
                running.most_attempts = most_attempts
                while True:
                    counts = self._until_idle(running)
                    if not any(count.unfinished + count.future for count in counts):
                        break
                    step = running.next_step(counts)
                    if step > end - clock.now():
                        raise running.unfinished(f"Jobs are left after {most}")
                    running.turn(step)
        return told

    def crash(
        self,
        job: Job,
        when: Literal["after_effect", "before_start"] = "after_effect",
        *,
        workers: int | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "raise",
    ) -> Job:
        """Let a worker process die over a job, and others find out.

        A second worker process takes the job, calls its function or does not, and
        never tells. Then time passes, with the workers of this test alive, until they
        have taken its job back: 30 to 40 virtual seconds with the usual lease. What
        else is due meanwhile runs.

        Whether the function was called or not, the attempt is spent, as in production,
        where nobody can tell the two apart. The loss itself fails no test: the test
        asked for it.

        Args:
            job: ready to be run now.
            when: `after_effect`: the function was called. `before_start`: it was not.
            workers: threads.
            timeout: see the class.
            on_failure: "raise" as elsewhere. "collect" leaves failures, since the job is
                what is returned: to `expect_failure`, else to the next call, which
                raises or returns them, else they fail the test at its end.

        Returns:
            The job after it: WAITING to be run again, or FAILED.

        Raises:
            InvalidArgument: the job is not ready, or held back by the limit of its task, or
                `when` is something else.
            UnknownTask: the job's task is not attached.
        """
        __tracebackhide__ = True
        seconds = require_timeout(timeout, self._timeout)
        if when not in {"after_effect", "before_start"}:
            raise InvalidArgument(f'when is {when!r}, expected "after_effect" or "before_start".')
        clock = self._clock()
        with self._call("crash", on_failure, returns_told=False):
            crash = Crash(self._recording, job, seconds)
            crash.take()
            if when == "after_effect":
                with clock.reserved():
                    crash.run()
            with self._session(workers, seconds) as running:
                while True:
                    counts = self._until_idle(running)
                    if not self._recording.ledger.held_by(crash.member):
                        break
                    running.turn(running.next_step(counts))
        return crash.entry.job()

    def stop_gracefully(
        self,
        after: int = 1,
        *,
        timeout: float | None = None,
        on_failure: OnFailure = "raise",
    ) -> list[BaseException]:
        """Stop the workers while they run jobs, as a deployment does.

        `after` threads start and take a job each. When all of them have begun, the
        production stop comes: these jobs run to their end, and whatever else was
        fetched goes back to the front of its queue, without an attempt spent.

        Args:
            after: how many jobs run when the stop comes.
            timeout: real seconds the running jobs get.
            on_failure: see the class.

        Raises:
            InvalidArgument: no such number; or fewer jobs than that could be started.
        """
        __tracebackhide__ = True
        seconds = require_timeout(timeout, self._timeout)
        require_int(after, "after", 1, 1000)
        with self._call("stop_gracefully", on_failure) as told:
            stop_while_running(self._recording, after, seconds)
        return told

    # -- helpers -----------------------------------------------------------

    @contextmanager
    def _call(
        self, name: str, on_failure: object, *, returns_told: bool = True
    ) -> Iterator[list[BaseException]]:
        """One call: refuse it inside another one, and settle its failures at its end."""
        __tracebackhide__ = True
        require_on_failure(on_failure)
        if self._active:
            where = (
                "while another call of spinach_worker is going on"
                if self._recording.running.of(threading.current_thread()) is None
                else "inside a task"
            )
            raise WorkersRunning(
                f"{name}() was called {where}. The call that is going on runs what tasks "
                "schedule as well; leave this one out."
            )
        told: list[BaseException] = []
        failures = self._recording.failures
        self._active = True
        try:
            yield told
        except BaseException as exc:
            failures.tell_with(exc)
            raise
        finally:
            self._active = False
        if on_failure == "raise" or returns_told:  # else left, see `crash`
            told += failures.tell()
        if told and on_failure == "raise":
            raise_all(told, failures)

    @contextmanager
    def _session(self, workers: int | None, seconds: float) -> Iterator[Session]:
        number = self._workers if workers is None else workers
        with session(self._recording, number, seconds) as running:
            yield running

    @staticmethod
    def _until_idle(running: Session) -> list[Any]:
        __tracebackhide__ = True
        return running.until_idle()

    def _clock(self) -> VirtualClock:
        clock = self._recording.broker.clock
        if not isinstance(clock, VirtualClock):
            raise InvalidArgument(
                f"The broker of this test runs on {type(clock).__name__}, which cannot be turned. "
                "Build it with clock=spinach_clock."
            )
        return clock
