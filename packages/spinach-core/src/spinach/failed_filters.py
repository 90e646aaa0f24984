"""Which failed jobs a user means: by task, by error, by how long ago."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from spinach.brokers.calls import FailedFilter
from spinach.clock import as_utc, to_ms
from spinach.definition.task import name_of_task
from spinach.exc import InvalidArgument
from spinach.support.exception_text import class_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach.brokers.failed_store import FailedStoreRole
    from spinach.definition.task import Task, Wanted

__all__ = ["ByError", "BySince", "ByTask", "Filters"]

#: A task's name, its function, or the `Task`.
ByTask: TypeAlias = "Wanted | None"
#: A class of exceptions, or its qualified name.
ByError: TypeAlias = "str | type[BaseException] | None"
#: An instant, or how long before now.
BySince: TypeAlias = "datetime | timedelta | None"


class Filters:
    """The filters of one listing, checked.

    Args:
        task: by name it need not be attached to the engine.
        error: the very class; those derived from it are others.
        since: an aware datetime, or a timedelta that is counted back from now.
        resolve: finds the task of a function.

    Raises:
        InvalidArgument: a filter of another type, a class of no exceptions, a name of a class
            without its module, a naive datetime, a negative timedelta.
        InvalidName: a name that no task can have.
        UnknownTask: the function is no task of the engine.
    """

    __slots__ = ("_error", "_since", "_task")

    def __init__(
        self,
        task: ByTask,
        error: ByError,
        since: BySince,
        resolve: Callable[[Any], Task[..., Any]],
    ) -> None:
        self._task = None if task is None else name_of_task(task, resolve)
        self._error = _error_name(error)
        self._since = _checked_since(since)

    def matching(self, broker: FailedStoreRole) -> FailedFilter:
        """What the broker is asked for, with the instant that `since` means now."""
        since = self._since
        if isinstance(since, timedelta):
            since = _before(broker.clock.now(), since)
        return FailedFilter(
            task=self._task, error=self._error, since_ms=None if since is None else to_ms(since)
        )

    def listing(self, namespace: str, queue: str | None) -> str:
        """Text that tells listings apart; the cursors of one are of no use in another."""
        asked = (namespace, queue, self._task, self._error, self._since)
        return hashlib.blake2s(repr(asked).encode(), digest_size=4).hexdigest()


def _error_name(error: Any) -> str | None:
    if error is None:
        return None
    if isinstance(error, type) and issubclass(error, BaseException):
        return class_name(error)
    # A name without a module is of no class: nothing would ever match it.
    if isinstance(error, str) and "." in error:
        return error
    raise InvalidArgument(
        f"error is {error!r} of type {type(error).__name__}, expected a class of exceptions, such "
        "as ValueError, or its qualified name, such as 'builtins.ValueError': what entry.error has."
    )


def _checked_since(since: Any) -> datetime | timedelta | None:
    if since is None:
        return None
    if isinstance(since, timedelta) and since >= timedelta(0):
        return since
    if isinstance(since, datetime) and since.tzinfo is not None:
        return as_utc(since, what="since")
    raise InvalidArgument(
        f"since is {since!r} of type {type(since).__name__}, expected an aware datetime, such as "
        "datetime.now(timezone.utc), or a timedelta that is not negative: timedelta(hours=1) means "
        "the last hour."
    )


def _before(now: datetime, span: timedelta) -> datetime | None:
    """An instant so long ago; None: before all that a datetime can tell."""
    try:
        return now - span
    except OverflowError:
        return None
