"""How what attempts raised reaches the test: as a failure, whatever it is.

Most exceptions come as they are. Some would not fail the test: pytest takes them for its
outcome, or for the end of the run, or Python for the end of a generator. `TaskRaised`
stands for these, raised from them. It stands for those, too, that a report could not show
because their class raises when asked; they are not its cause, since it would be shown as well.
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

#: Exceptions that are more than that: two are outcomes to pytest, one turns into a
#: RuntimeError on its way through a context manager, and breaks a Future.
_OUTCOMES = (pytest.exit.Exception, unittest.SkipTest, StopIteration)

#: What a test says about itself, from wherever it is called.
_VERDICTS = (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception)


def raise_all(errors: Sequence[BaseException], failures: Failures) -> NoReturn:
    """Fail the test with what attempts raised: one as it is, several as a group.

    A note says what to write if the test means them to happen.

    Args:
        errors: at least one.
        failures: of the test; they came from there.
    """
    __tracebackhide__ = True
    remedy = _remedy(errors, failures)
    if len(errors) == 1:
        [err] = errors
        # As it is: `pytest.fail` in a task means what it says.
        failure = err if type(err) is pytest.fail.Exception else _as_failure(err)
        if remedy:
            add_note(failure, remedy)
        raise failure
    group = ExceptionGroup(f"{len(errors)} attempts raised", list(map(_as_failure, errors)))
    if remedy:
        group.add_note(remedy)
    raise group


def _remedy(errors: Sequence[BaseException], failures: Failures) -> str:
    """The blocks of `expect_failure` that would have taken them; empty if none should."""
    blocks = [
        f"with spinach_jobs.expect_failure({task!r}, {class_name(kind).rpartition('.')[2]}"
        f"{'' if count == 1 else f', count={count}'})"
        for (task, kind), count in failures.seen(errors).items()
        # A test that lets a task call `pytest.fail` and its like wants to fail.
        if not issubclass(kind, _VERDICTS)
    ]
    if not blocks:
        return ""
    return f"If the test means this to happen, write around the call: {' and '.join(blocks)}"


def _as_failure(err: BaseException) -> Exception:
    """The exception itself if it can only be taken for a failure, else what stands for it.

    Those beyond `Exception` are none of these: a skip is one, KeyboardInterrupt ends the
    run, and others keep fixtures from being torn down.
    """
    kind = type(err)
    showable = _can_be_shown(err)
    if showable and issubclass(kind, Exception) and not issubclass(kind, _OUTCOMES):
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
    """Whether a report can ask the exception for all that it shows; its class may raise."""
    kind = type(err)
    try:
        traceback.format_exception(err)
        names = (kind.__name__, kind.__qualname__, kind.__module__)
    except BaseException:  # noqa: BLE001 - whatever the user's class raises
        return False
    return all(issubclass(type(each), str) for each in names)
