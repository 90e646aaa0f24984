"""Fails a test with the exceptions that attempts raised.

Most exceptions are raised as they are. Some would not fail the test: pytest takes them for a skip
or the end of the run, or Python for the end of a generator. For these `TaskRaised` is raised from
them. It is also raised for exceptions that a report could not show, because their class raises
when asked; these are not its cause, since a report shows causes, too.
"""

from __future__ import annotations

import traceback
import unittest
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from spinach.support.exception_text import class_name, line_of, traceback_of

from .errors import TaskRaised
from .notes import add_note, notes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .failures import Failures

__all__ = ["raise_all"]

#: Exceptions with a meaning of their own. pytest ends the run or skips the test by the first two;
#: the last becomes a RuntimeError in a context manager, and breaks a Future.
_NO_FAILURES = (pytest.exit.Exception, unittest.SkipTest, StopIteration)

#: By which a test ends itself, also from inside a task.
_ENDS_OF_TESTS = (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception)


def raise_all(
    errors: Sequence[BaseException], failures: Failures, *, whole_test: bool = False
) -> NoReturn:
    """Fail the test with what attempts raised: one as it is, several as a group.

    A note says what to write if the test expects them.

    Args:
        errors: at least one, from `Failures.tell`.
        failures: of the test.
        whole_test: it is over; see `Failures.seen`.
    """
    __tracebackhide__ = True
    remedy = _remedy(errors, failures, whole_test=whole_test)
    if len(errors) == 1:
        [err] = errors
        # `pytest.fail` in a task fails the test as it does elsewhere.
        failure = err if type(err) is pytest.fail.Exception else _as_failure(err)
        if remedy:
            add_note(failure, remedy)
        raise failure
    group = ExceptionGroup(f"{len(errors)} attempts raised", list(map(_as_failure, errors)))
    if remedy:
        group.add_note(remedy)
    raise group


def _remedy(errors: Sequence[BaseException], failures: Failures, *, whole_test: bool) -> str:
    """The blocks of `expect_failure` that would take them; empty if there should be none."""
    blocks = [
        f"with spinach_jobs.expect_failure({failures.written(task)}, "
        f"{class_name(kind).rpartition('.')[2]}{'' if count == 1 else f', count={count}'})"
        for (task, kind), count in failures.seen(errors, whole_test=whole_test).items()
        # A test whose task calls `pytest.fail` or `pytest.skip` means it.
        if not issubclass(kind, _ENDS_OF_TESTS)
    ]
    if not blocks:
        return ""
    return f"If the test means this to happen, write around the call: {' and '.join(blocks)}"


def _as_failure(err: BaseException) -> Exception:
    """The exception itself if pytest counts it as a failure, else a `TaskRaised` for it.

    Pytest does not count classes outside of `Exception`: among them are its skip and
    KeyboardInterrupt, which ends the run, and others keep fixtures from being torn down.
    """
    kind = type(err)
    showable = _can_be_shown(err)
    if showable and issubclass(kind, Exception) and not issubclass(kind, _NO_FAILURES):
        return cast("Exception", err)
    if showable:
        failure = TaskRaised(f"A task raised what is no failure to pytest: {line_of(err)}")
        failure.__cause__ = err
    else:
        failure = TaskRaised(f"A task raised what cannot be shown as it is: {line_of(err)}")
        failure.add_note(traceback_of(err))
    for note in notes_of(err):
        failure.add_note(note)
    return failure


def _can_be_shown(err: BaseException) -> bool:
    """Whether a report can show the exception; its class may raise when asked."""
    kind = type(err)
    try:
        traceback.format_exception(err)
        names = (kind.__name__, kind.__qualname__, kind.__module__)
    except BaseException:  # noqa: BLE001 - whatever the user's class raises
        return False
    return all(issubclass(type(each), str) for each in names)
