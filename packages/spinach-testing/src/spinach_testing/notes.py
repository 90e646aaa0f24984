"""The note on an exception that says which attempt raised it."""

from __future__ import annotations

import copy
from contextlib import suppress

__all__ = ["add_note", "notes_of", "with_note"]


class _Note(str):
    """A note of this plugin's, told from those of the user by its type."""

    __slots__ = ()


def notes_of(err: BaseException) -> list[str]:
    """The notes on an exception; none if its class refuses to tell."""
    try:
        return [str(each) for each in getattr(err, "__notes__", ())]
    except BaseException:  # noqa: BLE001 - whatever the user's class raises
        return []


def with_note(err: BaseException, note: str, *, again: bool) -> BaseException:
    """Write a note on an exception, in the place of one that an earlier test left there.

    Args:
        err: what an attempt raised.
        note: says which.
        again: another attempt of this test raised that very object, as a constant of a
            module is. Its note is still needed, so the new one goes on a copy.

    Returns:
        The exception, or its copy. Some cannot be copied: those collect their notes.
    """
    # Whatever it runs is the user's: a class may refuse notes, or to be copied.
    with suppress(BaseException):
        kept = [each for each in getattr(err, "__notes__", ()) if not isinstance(each, _Note)]
        if again:
            twin = _copy(err)
            if twin is not None:
                twin.__notes__ = kept
                err = twin
        elif hasattr(err, "__notes__"):
            err.__notes__ = kept
        err.add_note(_Note(note))
    return err


def add_note(err: BaseException, note: str) -> None:
    """Write one more note; the next test's `with_note` takes it away."""
    with suppress(Exception):  # see there
        err.add_note(_Note(note))


def _copy(err: BaseException) -> BaseException | None:
    """A copy with everything that a report shows; None: it has none."""
    try:
        twin = copy.copy(err)
        if twin is err or type(twin) is not type(err):
            return None
        # It was built from the arguments that the first one kept, as if they were those that
        # it was built from.
        twin.args = err.args
        if str(twin) != str(err):
            return None
    except BaseException:  # noqa: BLE001 - see `with_note`
        return None
    twin.__cause__, twin.__context__ = err.__cause__, err.__context__
    twin.__suppress_context__ = err.__suppress_context__
    return twin.with_traceback(err.__traceback__)
