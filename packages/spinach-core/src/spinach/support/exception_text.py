"""What exceptions, values and stacks say of themselves, whatever their classes do.

A class, or its metaclass, may raise wherever it is asked for something: its name, its text, its
notes, its cause. So may the loader of a module that is asked for a line of its source. Nothing
here raises, and all text can be stored as UTF-8.
"""

from __future__ import annotations

import traceback
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = [
    "class_name",
    "line_of",
    "message_of",
    "shown",
    "stack_of",
    "stack_text",
    "trace_of",
    "traceback_of",
]

#: Innermost frames of a stack that are looked at.
_MAX_FRAMES: Final = 100

#: Characters of a stack that are shown: its end, where the thread is.
_MAX_STACK: Final = 16 * 1024

# As `type` and `BaseException` have them. A class may put its own in their place.
_module_of = vars(type)["__module__"].__get__
_qualname_of = vars(type)["__qualname__"].__get__
_own_trace_of = vars(BaseException)["__traceback__"].__get__


def class_name(kind: type) -> str:
    """Qualified name of a class, with its module if that is known."""
    try:
        module = _module_of(kind)
    except AttributeError:  # it was deleted
        module = None
    name = _storable(_qualname_of(kind))
    return f"{_storable(module)}.{name}" if issubclass(type(module), str) else name


def message_of(err: BaseException) -> str:
    """The exception as text; says so where its class fails to give one."""
    try:
        return _storable(str(err))
    except BaseException as exc:  # noqa: BLE001 - the class is the user's
        return f"<unprintable {_short_name(err)}: {_short_name(exc)}>"


def line_of(err: BaseException) -> str:
    """Class and text of the exception, as a traceback ends with them."""
    try:
        return _storable(traceback.format_exception_only(err)[0].strip())
    except BaseException:  # noqa: BLE001 - the class is the user's
        return f"{class_name(type(err))}: {message_of(err)}"


def shown(value: object) -> str:
    """The `repr` of a value; says so where its class fails to give one."""
    try:
        return _storable(repr(value))
    except BaseException as exc:  # noqa: BLE001 - the class is the user's
        return f"<unprintable {_short_name(value)}: {_short_name(exc)}>"


def trace_of(err: BaseException) -> TracebackType | None:
    """The exception's traceback without the frame that caught it, which tells a reader nothing."""
    trace: TracebackType | None = _own_trace_of(err)
    return trace.tb_next if trace is not None else None


def traceback_of(err: BaseException) -> str:
    """The formatted traceback, from below the frame that caught the exception.

    Where the exception stands in the way of that, the stack is shown with its name and text.
    """
    trace = trace_of(err)
    try:
        return _storable("".join(traceback.format_exception(type(err), err, trace)))
    except BaseException as exc:  # noqa: BLE001 - it asks the user's class for nearly everything
        reason = _short_name(exc)
    try:
        stack = _storable("".join(traceback.format_tb(trace)))
    except BaseException:  # noqa: BLE001 - it reads sources by the user's loaders
        stack = ""
    return (
        f"Traceback (most recent call last):\n{stack}{class_name(type(err))}: {message_of(err)}\n"
        f"(Its causes and notes cannot be shown: asking for them raised {reason}.)\n"
    )


def stack_of(frame: FrameType) -> list[traceback.FrameSummary]:
    """Where a thread is, innermost last; it reads no source yet, and keeps no frame alive.

    Args:
        frame: of the thread, which may run on meanwhile.
    """
    stack = []
    for each, line in islice(traceback.walk_stack(frame), _MAX_FRAMES):
        code = each.f_code
        stack.append(
            traceback.FrameSummary(code.co_filename, line, code.co_name, lookup_line=False)
        )
    return stack[::-1]


def stack_text(stack: list[traceback.FrameSummary]) -> str:
    """A stack as tracebacks show it, with its sources where they can be read.

    Args:
        stack: as `stack_of` gives it.
    """
    try:
        text = "".join(traceback.format_list(stack))
    except BaseException:  # noqa: BLE001 - it reads sources by the user's loaders
        text = "".join(
            f'  File "{each.filename}", line {each.lineno}, in {each.name}\n' for each in stack
        )
    return _storable(text)[-_MAX_STACK:]


def _short_name(value: object) -> str:
    return _storable(_qualname_of(type(value)))


def _storable(text: Any) -> str:
    """Exactly a str, without lone surrogates, as names of files have them."""
    # By `str` itself: a subclass may have an `encode` of its own.
    return str.encode(text, "utf-8", "backslashreplace").decode("utf-8")
