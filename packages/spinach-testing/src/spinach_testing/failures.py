"""Attempts that raised, and whether the test knows of them.

Each failure is *pending* first. An `expect_failure` block takes it, or a worker of the plugin
raises or returns it; either happens once. A failure that is still pending when the test ends
fails the test. That is so where the live worker ran the job, or workers that the test started
itself, or where the failure came after its call had timed out. A `RetryException` that leads to
another attempt is no failure: the task asked for that attempt.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spinach import RetryException
from spinach.exc import InvalidArgument, WorkerLost
from spinach.support.exception_text import line_of, message_of

from .listing import call_text
from .notes import notes_of, with_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spinach import Job

__all__ = ["ExpectedFailure", "Failure", "Failures", "OnFailure", "require_on_failure"]

#: What becomes of failures when a call of a worker returns.
OnFailure = Literal["raise", "collect"]


@dataclass(slots=True, eq=False)
class Failure:
    """An attempt that raised."""

    job: Job
    err: BaseException
    #: Neither expected by a block nor raised or returned so far.
    pending: bool = True


@dataclass(slots=True, eq=False)
class ExpectedFailure:
    """What an `expect_failure` block waits for, and the failures that it has taken."""

    task: str
    exc_type: type[BaseException] | tuple[type[BaseException], ...]
    match: str | None
    count: int
    found: list[Failure] = field(default_factory=list)

    @property
    def value(self) -> BaseException:
        """What the first attempt raised.

        Raises:
            LookupError: none has yet.
        """
        return self._first().err

    @property
    def job(self) -> Job:
        """The job of the first attempt that raised.

        Raises:
            LookupError: none has yet.
        """
        return self._first().job

    @property
    def values(self) -> list[BaseException]:
        """What each of the attempts raised."""
        return [failure.err for failure in self.found]

    @property
    def incomplete(self) -> bool:
        """Whether fewer attempts than expected have raised it."""
        return len(self.found) < self.count

    def matches(self, failure: Failure) -> bool:
        """Whether a failure is one of those expected."""
        return (
            failure.job.task_name == self.task
            # By `type`: an object can lie about its `__class__`, or raise when asked for it.
            and issubclass(type(failure.err), self.exc_type)
            and (self.match is None or re.search(self.match, message_of(failure.err)) is not None)
        )

    def __str__(self) -> str:
        types = self.exc_type if isinstance(self.exc_type, tuple) else (self.exc_type,)
        names = " or ".join(each.__name__ for each in types)
        return names if self.match is None else f"{names} matching {self.match!r}"

    def _first(self) -> Failure:
        if not self.found:
            raise LookupError(f"No attempt of task {self.task!r} has raised {self} yet.")
        return self.found[0]


class Failures:
    """All failures of one test; thread safe.

    Args:
        written: gives a task as a test would write it, from its name.
    """

    def __init__(self, written: Callable[[str], str] = repr) -> None:
        self.written = written
        self._lock = threading.Lock()  # guards all below
        self._all: list[Failure] = []
        self._expected: list[ExpectedFailure] = []
        # Blocks that are over.
        self._ended: list[ExpectedFailure] = []
        # Ids of jobs.
        self._ordered: set[str] = set()
        # By `id`. Kept, so that no later exception can have the same one.
        self._raised: dict[int, BaseException] = {}

    def raised(self, job: Job, err: BaseException, *, final: bool) -> None:
        """Note what an attempt raised, and add the attempt to the exception's notes.

        Args:
            job: whose attempt it was.
            err: what it raised.
            final: it was the last attempt. Any earlier `RetryException` is no failure.
        """
        kind = type(err)
        if issubclass(kind, RetryException) and not final:
            return
        with self._lock:
            if issubclass(kind, WorkerLost) and job.id_text in self._ordered:
                return  # see `order_loss`
            again = id(err) in self._raised
            self._raised[id(err)] = err
        call = call_text(job.task_name, job.task_args, job.task_kwargs)
        verb = "told of" if issubclass(kind, WorkerLost) else "raised by"
        noted = with_note(err, f"{verb} job {call}, attempt {job.attempt}", again=again)
        with self._lock:
            self._all.append(Failure(job, noted))

    def order_loss(self, job: Job) -> None:
        """Expect the `WorkerLost` of this job: the test itself crashes its worker."""
        with self._lock:
            self._ordered.add(job.id_text)

    def expect(self, expected: ExpectedFailure) -> None:
        """From now on take failures that match, pending ones included.

        An inner block takes a failure before an outer one does, unless the failure was there
        before the inner block.
        """
        with self._lock:
            self._match()
            self._expected.append(expected)

    def expect_no_more(self, expected: ExpectedFailure) -> None:
        """Take what has come until now; the block is over."""
        with self._lock:
            self._match()
            self._expected.remove(expected)
            self._ended.append(expected)

    def tell(self) -> list[BaseException]:
        """The pending failures, for a caller that raises or returns them."""
        with self._lock:
            self._match()
            pending = [each for each in self._all if each.pending]
            for failure in pending:
                failure.pending = False
            return [each.err for each in pending]

    def tell_with(self, exc: BaseException) -> None:
        """Add the pending failures to the notes of another exception, which is being raised."""
        for err in self.tell():
            exc.add_note(f"Meanwhile: {line_of(err)} ({'; '.join(notes_of(err))})")

    def seen(
        self, errors: Iterable[BaseException], *, whole_test: bool = False
    ) -> dict[tuple[str, type[BaseException]], int]:
        """How many attempts have raised the same as these, by task and type.

        Failures that open blocks have taken count as well: a block that should expect all of
        them needs that number.

        Args:
            errors: what attempts raised, as `tell` returned it.
            whole_test: count those of blocks that are over, too. At the end of a test nobody
                knows which call brought the failure.
        """
        told = {id(err) for err in errors}
        with self._lock:
            counted = Counter(_kind(failure) for failure in self._all if id(failure.err) in told)
            for expected in [*self._expected, *(self._ended if whole_test else ())]:
                for failure in expected.found:
                    if _kind(failure) in counted:
                        counted[_kind(failure)] += 1
            return counted

    def _match(self) -> None:
        """Let the blocks take the pending failures that they expect; under the lock."""
        for failure in self._all:
            if not failure.pending:
                continue
            for expected in reversed(self._expected):
                if expected.incomplete and expected.matches(failure):
                    expected.found.append(failure)
                    failure.pending = False
                    break


def require_on_failure(on_failure: object) -> None:
    """Check the argument.

    Raises:
        InvalidArgument: neither "raise" nor "collect".
    """
    if on_failure not in ("raise", "collect"):  # a set would refuse a list by itself
        raise InvalidArgument(f'on_failure is {on_failure!r}, expected "raise" or "collect".')


def _kind(failure: Failure) -> tuple[str, type[BaseException]]:
    return failure.job.task_name, type(failure.err)
