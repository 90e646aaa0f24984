"""How what attempts raised reaches the test: as a failure, whatever it is.

Most exceptions come as they are. Some would not fail the test: pytest takes them for its
outcome, or for the end of the run, or Python for the end of a generator. `TaskRaised`
stands for these, raised from them.
"""

from __future__ import annotations

import traceback
import unittest
from typing import TYPE_CHECKING, NoReturn

import pytest

from .errors import TaskRaised
from .notes import add_note

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
        f"with spinach_jobs.expect_failure({task!r}, {kind.__name__}"
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
    if isinstance(err, Exception) and not isinstance(err, _OUTCOMES):
        return err
    # Its text by `traceback`, since the class may be the user's own and refuse.
    failure = TaskRaised(f"A task raised what is no failure to pytest: {_text(err)}")
    failure.__cause__ = err
    for note in getattr(err, "__notes__", ()):
        failure.add_note(note)
    return failure


def _text(err: BaseException) -> str:
    return traceback.format_exception_only(err)[0].strip()
