"""What a test asks about the jobs that were scheduled."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

from spinach import Job, RetryException
from spinach.exc import InvalidArgument
from spinach.job import JobStatus
from spinach.support.checks import require_int

from . import listing
from .failures import ExpectedFailure
from .matching import ExpectedCall, expected_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spinach import Task
    from spinach.progress import Progress

    from .ledger import Entry
    from .recording import Recording

    Wanted = str | Callable[..., object] | Task[..., Any]

__all__ = ["Jobs"]


class Jobs:
    """The jobs of a test, those that jobs and periodic tasks made included.

    They are recorded at the broker. So it shows what the broker has stored, with the arguments
    as workers get them, and nothing that was refused. Safe to use from any thread.

    A task may be given by its name, its function, or the `Task`.

    Args:
        recording: of the test's engine.
    """

    def __init__(self, recording: Recording) -> None:
        #: Of the engine; for the plugin's other fixtures.
        self.recording = recording
        # What `captured` was called on; this shows a part of it.
        self._outer: Jobs | None = None
        # It shows jobs with these numbers: from the first on, and below the end if there is one.
        self._first = 0
        self._end: int | None = None

    def __len__(self) -> int:
        return len(self._entries())

    def __repr__(self) -> str:
        return f"<Jobs of {self.recording.engine.namespace}:\n{self._listing()}>"

    def all(self, task: Wanted | None = None, status: JobStatus | None = None) -> list[Job]:
        """Snapshots of the jobs as they stand now, in the order they were scheduled.

        Args:
            task: of this task only.
            status: in this state only.

        Raises:
            UnknownTask: the engine does not know the task.
            InvalidArgument: `status` is no JobStatus.
        """
        if status is not None and not isinstance(status, JobStatus):
            raise InvalidArgument(f"status is {status!r}, expected a JobStatus.")
        found = [entry.job() for entry in self._entries(task)]
        return [job for job in found if status is None or job.status is status]

    def progress(self, job: Job) -> Progress | None:
        """What the last attempt of a job said last of its progress, also when it is over.

        Unlike `engine.jobs.get(job).progress` it does not wait for a heartbeat to tell it.

        Args:
            job: any snapshot of it.

        Returns:
            None if that attempt said nothing, or none has begun in this process.

        Raises:
            InvalidArgument: not a job, or not one of this test.
        """
        entry = self.recording.ledger.find(job) if isinstance(job, Job) else None
        if entry is None:
            raise InvalidArgument(
                f"{job!r} is no job of this test. Pass what schedule(), all() or one() returned."
            )
        return entry.progress

    def one(self, task: Wanted | None = None, status: JobStatus | None = None) -> Job:
        """The only job, or the only one of a task or in a state.

        Raises:
            AssertionError: there is none, or there are more; lists what there is.
            UnknownTask, InvalidArgument: as for `all`.
        """
        __tracebackhide__ = True
        found = self.all(task, status)
        if len(found) != 1:
            what = "job" if task is None else f"job of task {self._resolve(task).name!r}"
            state = "" if status is None else f" in state {status.name}"
            raise AssertionError(
                f"Expected one {what}{state}, found {len(found)}. "
                f"Jobs:\n{self._listing(more=not found)}"
            )
        return found[0]

    def assert_scheduled(
        self, task: Wanted, call: Any = ANY, *, count: int = 1, at: Any = None
    ) -> list[Job]:
        """Fail unless exactly `count` jobs were scheduled like this.

        Args:
            task: of the jobs.
            call: `unittest.mock.call(...)` with the arguments, compared by the task's
                parameters; values may be matchers. ANY is every call.
            count: how many, at least one.
            at: when they were to start: a datetime (naive is UTC) or a matcher. None is
                any time.

        Returns:
            Snapshots of the jobs.

        Raises:
            AssertionError: there are fewer or more; lists what there is.
            UnknownTask: the engine does not know the task.
            InvalidJobSignatureError: the task cannot be called like that.
            InvalidArgument: anything else that makes no sense.
        """
        __tracebackhide__ = True
        require_int(count, "count", 1, 10**9)
        expected, found = self._matching(task, call, at)
        if len(found) != count:
            raise AssertionError(
                f"Expected {count} {_jobs(count)} {expected}{_when(at)}, found {len(found)}. "
                f"Jobs:\n{self._listing(more=len(found) < count)}"
            )
        return found

    def assert_not_scheduled(self, task: Wanted, call: Any = ANY, *, at: Any = None) -> None:
        """Fail if any job was scheduled like this; arguments as for `assert_scheduled`.

        Raises:
            AssertionError: there are some; lists what there is.
        """
        __tracebackhide__ = True
        expected, found = self._matching(task, call, at)
        if found:
            raise AssertionError(
                f"Expected no job {expected}{_when(at)}, found {len(found)}. "
                f"Jobs:\n{self._listing()}"
            )

    @contextmanager
    def expect_failure(
        self,
        task: Wanted,
        exc_type: type[BaseException] | tuple[type[BaseException], ...],
        match: str | None = None,
        *,
        count: int = 1,
    ) -> Iterator[ExpectedFailure]:
        """Expect attempts of a task to raise, and fail if they do not.

        ::

            with spinach_jobs.expect_failure("charge", CardDeclined) as failed:
                spinach_worker.drain()
            assert failed.value.code == 51

        Args:
            task: whose attempts raise.
            exc_type: what they raise. A RetryException counts only if no attempt is left;
                otherwise it is no failure.
            match: a regular expression found in the exception's text.
            count: how many attempts; one more fails the test as usual.

        Yields:
            An object that is filled when the block ends: it has `value` and `job` of the
            first attempt, and `values` of all.

        Raises:
            AssertionError: fewer attempts raised that; lists the jobs.
            UnknownTask: the engine does not know the task.
            InvalidArgument: not a type of exceptions, no regular expression, or a count
                below one.
        """
        __tracebackhide__ = True
        types = exc_type if isinstance(exc_type, tuple) else (exc_type,)
        if not types or not all(
            isinstance(each, type) and issubclass(each, BaseException) for each in types
        ):
            raise InvalidArgument(f"exc_type is {exc_type!r}, expected a type of exceptions.")
        require_int(count, "count", 1, 10**9)
        _require_pattern(match)
        expected = ExpectedFailure(self._resolve(task).name, exc_type, match, count)
        failures = self.recording.failures
        failures.expect(expected)
        try:
            yield expected
        finally:
            failures.expect_no_more(expected)
        if expected.incomplete:
            hint = ""
            if any(issubclass(each, RetryException) for each in types):
                hint = (
                    "A RetryException that leads to another attempt is no failure; only the last "
                    "attempt can fail with one. "
                )
            raise AssertionError(
                f"Expected {count} {'attempt' if count == 1 else 'attempts'} of task "
                f"{expected.task!r} to raise {expected}, found {len(expected.found)}. "
                f"{hint}Jobs:\n{self._listing(more=True)}"
            )

    @contextmanager
    def captured(self) -> Iterator[Jobs]:
        """See only the jobs that are scheduled during the block, in any thread.

        Called on what an earlier `captured` yielded, whose block is over, it shows no jobs.

        Yields:
            A `Jobs` of only those jobs, to be asked during the block and after it.
        """
        inside = Jobs(self.recording)
        inside._outer, inside._first = self, self.recording.ledger.next_number
        try:
            yield inside
        finally:
            inside._end = self.recording.ledger.next_number

    # -- helpers -----------------------------------------------------------

    def _entries(self, task: Wanted | None = None) -> list[Entry]:
        entries = [each for each in self.recording.ledger.entries() if self._shows(each)]
        if task is None:
            return entries
        name = self._resolve(task).name
        return [entry for entry in entries if entry.task == name]

    def _shows(self, entry: Entry) -> bool:
        return (
            self._first <= entry.number
            and (self._end is None or entry.number < self._end)
            and (self._outer is None or self._outer._shows(entry))  # noqa: SLF001 - of this class
        )

    def _resolve(self, task: Wanted) -> Task[..., Any]:
        return self.recording.engine._task_table.resolve(task)  # noqa: SLF001 - both are Spinach's own

    def _matching(self, task: Wanted, call: Any, at: Any) -> tuple[ExpectedCall, list[Job]]:
        resolved = self._resolve(task)
        expected = ExpectedCall(resolved, call)
        instant = None if at is None else expected_instant(at)
        return expected, [
            job
            for job in (entry.job() for entry in self._entries(resolved))
            if expected.matches(job) and (instant is None or bool(instant == job.at))
        ]

    def _listing(self, *, more: bool = False) -> str:
        """The jobs as text.

        Args:
            more: too few jobs were found. Running those that are ready may make more, so
                say how to run them.
        """
        entries = self._entries()
        listed = listing.lines(entries, self.recording.now_ms)
        return listed + self.recording.advice(entries) if more else listed


def _require_pattern(match: Any) -> None:
    """Check `match` now, since otherwise it would fail when the first exception comes."""
    try:
        # Compiled patterns pass as well. A pattern of bytes cannot match a text.
        if match is None or isinstance(re.compile(match).pattern, str):
            return
        problem = "which is for bytes"
    except (TypeError, re.error) as exc:
        problem = str(exc)
    raise InvalidArgument(
        f"match is {match!r}, expected a regular expression, or None for any text: {problem}. "
        "Write re.escape(text) for a text as it stands."
    )


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


def _when(at: Any) -> str:
    return "" if at is None else f" at {at}"
