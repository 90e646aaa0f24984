"""The options of one call of a task, checked.

Each option is a keyword of `CallOptions.of`, and of the methods named `options` of engine,
registry and batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from spinach.clock import from_ms
from spinach.exc import InvalidArgument
from spinach.record.options import RecordOptions
from spinach.support.checks import require_timedelta

__all__ = ["CallOptions"]

_MILLISECOND: Final = timedelta(milliseconds=1)

#: Nothing expires later after its start.
_LONGEST: Final = timedelta(days=3650)


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
    plain: dict[str, str] = {}
    for given in headers:
        name = _require_text(given)
        if name in plain:
            raise InvalidArgument(f"Two headers have the same name, {name!r}. Keep one of them.")
        plain[name] = _require_text(headers[given], name)
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
