"""Attempts that raised, and who has heard of them.

Each failure is *pending* first. An `expect_failure` block acknowledges it, or a worker
of the plugin tells the test: raises it, or returns it. Both happen once. What is pending
when the test ends fails it: nobody was told, because the live worker ran the job, or
workers that the test started, or because it came after its call had given up. A
`RetryException` that leads to another attempt is no failure: the task asked for it.
"""

from __future__ import annotations

import enum
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
    from collections.abc import Iterable

    from spinach import Job

__all__ = ["ExpectedFailure", "Failure", "Failures", "OnFailure", "require_on_failure"]

#: What becomes of failures when a call of a worker returns.
OnFailure = Literal["raise", "collect"]


class Standing(enum.Enum):
    """Who has heard of a failure."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    TOLD = "told"


@dataclass(slots=True, eq=False)
class Failure:
    """An attempt that raised."""

    job: Job
    err: BaseException
    standing: Standing = Standing.PENDING


@dataclass(slots=True, eq=False)
class ExpectedFailure:
    """What an `expect_failure` block is for; filled when the failures have come."""

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
    def wanting(self) -> bool:
        """Whether it can take one more."""
        return len(self.found) < self.count

    def fits(self, failure: Failure) -> bool:
        """Whether a failure is one of those expected."""
        return (
            failure.job.task_name == self.task
            # By its class: an object may pretend to be of another one, or raise when asked.
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
    """All failures of one test; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._all: list[Failure] = []
        self._expected: list[ExpectedFailure] = []
        # Ids of jobs.
        self._ordered: set[str] = set()
        # Kept, so that no other object gets the identity of one.
        self._raised: dict[int, BaseException] = {}

    def raised(self, job: Job, err: BaseException, *, final: bool) -> None:
        """Note what an attempt raised, and write on it which attempt that was.

        Args:
            job: whose attempt it was.
            err: what it raised.
            final: it was the last attempt. A `RetryException` of another one is no failure.
        """
        kind = type(err)
        if issubclass(kind, RetryException) and not final:
            return
        with self._lock:
            if issubclass(kind, WorkerLost) and job.id_text in self._ordered:
                return  # the test asked for it
            again = id(err) in self._raised
            self._raised[id(err)] = err
        call = call_text(job.task_name, job.task_args, job.task_kwargs)
        verb = "told of" if issubclass(kind, WorkerLost) else "raised by"
        noted = with_note(err, f"{verb} job {call}, attempt {job.attempt}", again=again)
        with self._lock:
            self._all.append(Failure(job, noted))

    def order_loss(self, job: Job) -> None:
        """The test itself crashes the worker of this job, so its loss is no news."""
        with self._lock:
            self._ordered.add(job.id_text)

    def expect(self, expected: ExpectedFailure) -> None:
        """From now on acknowledge failures that fit, pending ones included.

        Blocks inside others come first, but what was there before them is the others'.
        """
        with self._lock:
            self._acknowledge()
            self._expected.append(expected)

    def expect_no_more(self, expected: ExpectedFailure) -> None:
        """Acknowledge what came; the block is over."""
        with self._lock:
            self._acknowledge()
            self._expected.remove(expected)

    def tell(self) -> list[BaseException]:
        """What nobody has heard of yet, for a caller who raises or returns it."""
        with self._lock:
            self._acknowledge()
            pending = [each for each in self._all if each.standing is Standing.PENDING]
            for failure in pending:
                failure.standing = Standing.TOLD
            return [each.err for each in pending]

    def tell_with(self, exc: BaseException) -> None:
        """Write what nobody has heard of yet on another exception, which is about to leave."""
        for err in self.tell():
            exc.add_note(f"Meanwhile: {line_of(err)} ({'; '.join(notes_of(err))})")

    def seen(self, errors: Iterable[BaseException]) -> dict[tuple[str, type[BaseException]], int]:
        """How many attempts have raised what these have, by task and type.

        Those count, too, that blocks which still stand open have acknowledged: a block that
        expected them all would have to count them.

        Args:
            errors: what attempts raised, as `tell` returned it.
        """
        told = {id(err) for err in errors}
        with self._lock:
            of = [_kind(failure) for failure in self._all if id(failure.err) in told]
            counted = dict(Counter(of))
            for expected in self._expected:
                for failure in expected.found:
                    if _kind(failure) in counted:
                        counted[_kind(failure)] += 1
            return counted

    def _acknowledge(self) -> None:
        for failure in self._all:
            if failure.standing is not Standing.PENDING:
                continue
            for expected in reversed(self._expected):
                if expected.wanting and expected.fits(failure):
                    expected.found.append(failure)
                    failure.standing = Standing.ACKNOWLEDGED
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
