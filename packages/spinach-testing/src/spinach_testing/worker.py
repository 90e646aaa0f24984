"""The worker of a test: production threads that run just while the test waits.

Who owns what:

| | owner |
|---|---|
| threads | one call: they start and end in it |
| time | the test, between calls; during a call only that call turns the clock, no task can |
| failures | pending until a call ends, which raises or returns them, once |
| a job that hangs | its thread, a daemon; the call ends at its timeout and names the job |
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from spinach.clock import from_ms, to_ms
from spinach.exc import InvalidArgument, WorkersRunning
from spinach.support.checks import require_int, require_timedelta

from .clock import VirtualClock, require_span
from .crash import Crash
from .failures import require_on_failure
from .graceful import stop_while_running
from .raising import raise_all
from .session import session
from .timeouts import require_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from spinach import Job

    from .failures import OnFailure
    from .recording import Recording
    from .session import Session

__all__ = ["TestWorker"]

#: Attempts that `run_until_finished` makes by default.
_MOST_JOBS = 1000

#: Virtual time that it lets pass at most by default.
_MOST_VIRTUAL = timedelta(days=366)


class TestWorker:
    """Runs an engine's jobs in real worker threads while the test waits.

    Between calls no job runs. Only one thread may use it at a time.

    Every call takes `timeout`: real seconds until nothing is left to do, counted anew at each
    turn of the clock. None takes the number from the mark or the configuration. Every call takes
    `on_failure`: attempts that raised fail the test ("raise"), or are returned ("collect"; for
    `crash` see there).

    Every call raises:

    - `DrainTimeout`: jobs still run; names them and shows their stacks.
    - `UnfinishedJobs`: the workers ended too early, because a task stopped them, for example.
    - `WorkersRunning`: called inside a task, or the engine has workers already.
    - `InvalidArgument`: an argument that makes no sense, before anything runs.
    - what an attempt raised; several as an ExceptionGroup. `TaskRaised` comes in the place of
      exceptions that pytest would not count as a failure.

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
        # A call is going on. Set before its threads start, since a task may make another one.
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
            running.until_idle()
        return told

    def advance(
        self,
        by: timedelta,
        *,
        workers: int | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "raise",
    ) -> list[BaseException]:
        """Drain, then turn the clock to the next due job or tick and drain again, until
        `by` has passed.

        Args:
            by: virtual; not negative. It is rounded up to a whole millisecond.
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
            # Stores count whole milliseconds, rounded up.
            target = from_ms(to_ms(clock.now() + by))
            with self._session(workers, seconds) as running:
                while True:
                    counts = running.until_idle()
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

        Periodic tasks run meanwhile, but do not keep it going. Jobs whose task is unknown stay.

        Args:
            max_jobs: attempts that may be made; one more fails the test, since jobs probably
                make ever more jobs. Runs of periodic tasks do not count.
            max_virtual: virtual time that may pass; a job that is due later fails the test. The
                clock never goes beyond the year 9998.
            workers: threads.
            timeout: see the class.
            on_failure: see the class.

        Raises:
            UnfinishedJobs: one of the two is exceeded; lists what is left.
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
            # Before the threads start, since they run jobs at once.
            most_attempts = self._recording.running.started + max_jobs
            with self._session(workers, seconds) as running:
                running.most_attempts = most_attempts
                while True:
                    counts = running.until_idle()
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
        """Let a worker process die while it has a job, and let the others recover the job.

        A second worker process takes the job, calls its function or does not, and never
        reports. Then time passes until the workers of this test have taken the job back: 30 to
        40 virtual seconds with the usual lease. Other jobs that are due meanwhile run.

        The attempt is spent, whether the function was called or not: in production nothing can
        tell the two apart. The `WorkerLost` of this job does not fail the test.

        Args:
            job: ready to be run now.
            when: `after_effect`: the function was called. `before_start`: it was not.
            workers: threads.
            timeout: see the class.
            on_failure: "raise" as elsewhere. With "collect" failures stay pending, since the
                job is what is returned: `expect_failure` can take them, or the next call
                raises or returns them, or they fail the test at its end.

        Returns:
            The job as it stands afterwards: WAITING to be run again, or FAILED.

        Raises:
            InvalidArgument: the job is not ready, or held back by the limit of its task, or it
                has expired, or `when` is something else.
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
                    counts = running.until_idle()
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

        `after` threads start and take a job each. When all of these jobs have begun, the
        workers are stopped: these jobs run to their end, and other jobs that were fetched go
        back to the front of their queue, without an attempt spent.

        Args:
            after: how many jobs run when the stop comes.
            timeout: real seconds the running jobs get.
            on_failure: see the class.

        Raises:
            InvalidArgument: not an int from 1 to 1000, or fewer jobs than that can run at once.
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
        """One call: refuse it during another one, and raise or return its failures."""
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
        if on_failure == "raise" or returns_told:  # else they stay pending, see `crash`
            told += failures.tell()
        if told and on_failure == "raise":
            raise_all(told, failures)

    def _session(self, workers: int | None, seconds: float) -> AbstractContextManager[Session]:
        return session(self._recording, self._workers if workers is None else workers, seconds)

    def _clock(self) -> VirtualClock:
        clock = self._recording.broker.clock
        if not isinstance(clock, VirtualClock):
            raise InvalidArgument(
                f"The broker of this test runs on {type(clock).__name__}, which cannot be turned. "
                "Build it with clock=spinach_clock."
            )
        return clock
