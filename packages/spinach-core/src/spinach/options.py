"""The options of single calls: their checks, and the schedulers that carry them.

`schedule(task, *args, **kwargs)` passes everything on to the task, so options have a place of
their own: `spin.options(expires_in=...).schedule(task, ...)`. Each option is a keyword of
`CallOptions.of` and of the three methods named `options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from spinach.clock import as_utc, from_ms, to_ms
from spinach.definition.overloads import Scheduling, typed_as
from spinach.exc import InvalidArgument
from spinach.job import Job
from spinach.record.options import RecordOptions
from spinach.support.checks import MISSING, at_is_none, missing_position, require_timedelta

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BatchWithOptions", "CallOptions", "SchedulerWithOptions"]

_MILLISECOND: Final = timedelta(milliseconds=1)

#: Nothing expires later after its start.
_LONGEST: Final = timedelta(days=3650)

Answer = TypeVar("Answer")

#: Called with the options, the task, when the job is to start (None: as soon as possible), and
#: the arguments.
Send: TypeAlias = (
    "Callable[[CallOptions, Any, datetime | None, tuple[Any, ...], dict[str, Any]], Answer]"
)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a call of `options` asked for, checked; None: nothing of the kind."""

    expires_in_ms: int | None = None
    headers: dict[str, str] | None = None

    @classmethod
    def of(cls, *, expires_in: Any, headers: Any) -> CallOptions:
        """Check the keywords of a call of `options`, and keep a copy of them.

        Raises:
            InvalidArgument: one that cannot be used.
        """
        return cls(_require_expiry(expires_in), _require_headers(headers))

    def recorded(self, start_ms: int) -> RecordOptions | None:
        """What the record of one job says of them.

        Args:
            start_ms: when the job is to start, in ms since 1970.

        Returns:
            None: nothing, it is a job without options.

        Raises:
            InvalidArgument: it would expire after the year 9999.
        """
        if self.expires_in_ms is None:
            return None if self.headers is None else RecordOptions(headers=self.headers)
        expires_ms = start_ms + self.expires_in_ms
        try:
            from_ms(expires_ms)
        except OverflowError as exc:
            raise InvalidArgument(
                f"expires_in is {timedelta(milliseconds=self.expires_in_ms)}, which ends after "
                f"the year 9999 for a job that starts at {from_ms(start_ms).isoformat()}. "
                "Leave it out for a job that never expires."
            ) from exc
        return RecordOptions(headers=self.headers, expires_ms=expires_ms)

    def __repr__(self) -> str:
        """Without the texts of headers, which may be secret."""
        parts = []
        if self.expires_in_ms is not None:
            parts.append(f"expires_in={timedelta(milliseconds=self.expires_in_ms)}")
        if self.headers is not None:
            parts.append(f"headers={list(self.headers)}")
        return ", ".join(parts) or "none"


class SchedulerWithOptions:
    """Schedules jobs with the options it was made with; immutable and thread safe.

    `Engine.options` and `Tasks.options` make one. It may be kept and used for any number of jobs.
    """

    __slots__ = ("_options", "_send")

    def __init__(self, send: Send[Job], options: CallOptions) -> None:
        self._send = send
        self._options = options

    def __repr__(self) -> str:
        return f"<SchedulerWithOptions: {self._options!r}>"

    @typed_as(Scheduling[Job].schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> Job:
        """Schedule a job to start as soon as possible; see `Engine.schedule`.

        Raises:
            InvalidArgument: it would expire after the year 9999. And whatever `schedule` of the
                engine or registry raises.
        """
        if task is MISSING:
            raise missing_position("schedule", "task", kwargs)
        return self._send(self._options, task, None, args, kwargs)

    @typed_as(Scheduling[Job].schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> Job:
        """Schedule a job to start at an instant; see `Engine.schedule_at`.

        Raises:
            InvalidArgument: it would expire after the year 9999. And whatever `schedule_at` of
                the engine or registry raises.
        """
        if at is MISSING:
            raise missing_position("schedule_at", "task" if task is MISSING else "at", kwargs)
        if at is None:
            raise at_is_none()
        return self._send(self._options, task, at, args, kwargs)


class BatchWithOptions:
    """Adds jobs with the options it was made with to a batch; immutable, and as safe as that.

    `Batch.options` makes one. It may be kept as long as the batch is.
    """

    __slots__ = ("_add", "_options")

    def __init__(self, add: Send[None], options: CallOptions) -> None:
        self._add = add
        self._options = options

    def __repr__(self) -> str:
        return f"<BatchWithOptions: {self._options!r}>"

    @typed_as(Scheduling[None].schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> None:
        """Add a job that starts as soon as possible; see `Batch.schedule`, also for errors."""
        if task is MISSING:
            raise missing_position("schedule", "task", kwargs)
        self._add(self._options, task, None, args, kwargs)

    @typed_as(Scheduling[None].schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> None:
        """Add a job that starts at an instant; see `Batch.schedule_at`.

        Raises:
            InvalidArgument: it would expire after the year 9999. And whatever that raises.
        """
        if at is MISSING:
            raise missing_position("schedule_at", "task" if task is MISSING else "at", kwargs)
        start = as_utc(at)
        self._options.recorded(to_ms(start))
        self._add(self._options, task, start, args, kwargs)


def _require_expiry(expires_in: Any) -> int | None:
    """Return it in ms, rounded up; None for never."""
    if expires_in is None:
        return None
    span = require_timedelta(expires_in, "expires_in", _MILLISECOND)
    if span > _LONGEST:
        raise InvalidArgument(
            f"expires_in is {expires_in!r}, expected at most {_LONGEST.days} days. "
            "Leave it out for a job that never expires."
        )
    return -(-span // _MILLISECOND)


def _require_headers(headers: Any) -> dict[str, str] | None:
    """Return a copy of them as plain texts; None for none."""
    if headers is None:
        return None
    if not isinstance(headers, Mapping):
        raise InvalidArgument(
            f"headers is a value of type {type(headers).__name__}, expected a mapping of texts to "
            'texts such as {"trace": "4f2a"}.'
        )
    plain = {_require_text(name): _require_text(headers[name], name) for name in headers}
    if len(plain) != len(headers):
        raise InvalidArgument(f"Two headers have the same name, of {list(plain)}. Keep one.")
    return plain or None


def _require_text(value: Any, header: str | None = None) -> str:
    """Return a name or text of a header as a plain str.

    Args:
        value: to check; no message shows it, since it may be secret.
        header: its name; None: `value` is the name of one.
    """
    what = "The name of a header" if header is None else f"Header {header!r}"
    if not isinstance(value, str):
        raise InvalidArgument(
            f"{what} is of type {type(value).__name__}, expected a str. Write it as text, such "
            "as str(value)."
        )
    text = "".join(str.__iter__(value))  # of a subclass, too, without asking it
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument(
            f"{what} holds a lone surrogate, which is not valid Unicode. Send bytes as text in "
            "base64 or the like."
        ) from exc
    return text
