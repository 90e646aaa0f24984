"""A batch: jobs that are collected first and scheduled together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from spinach.clock import as_utc
from spinach.definition.overloads import Collecting, typed_as
from spinach.exc import InvalidArgument
from spinach.record.payload import encode_arguments
from spinach.support.checks import MISSING, missing_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from spinach.definition.task import Wanted

__all__ = ["Batch", "BatchEntry"]


class BatchEntry(msgspec.Struct, frozen=True):
    """A job of a batch, not yet sent."""

    task: Wanted
    #: None is as soon as possible.
    at: datetime | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    #: Encoded when the entry was made, so that later changes do not show.
    arguments: bytes


class Batch:
    """Jobs to schedule together, with few round trips; not thread safe.

    After `schedule_batch` succeeded the batch cannot be used again. After a
    `BrokerError` it holds just those jobs that were certainly not sent, so that
    scheduling it again neither loses nor doubles one.
    """

    def __init__(self) -> None:
        self._entries: list[BatchEntry] = []
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._entries)

    @typed_as(Collecting.schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> None:
        """Add a job that starts as soon as possible; see `Engine.schedule`.

        Raises:
            InvalidArgument: an argument that cannot be sent; `task` as a keyword.
        """
        if task is MISSING:
            raise missing_position("schedule", "task", kwargs)
        self._add(task, None, args, kwargs)

    @typed_as(Collecting.schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> None:
        """Add a job that starts at an instant; see `Engine.schedule_at`.

        Raises:
            InvalidArgument: an argument that cannot be sent, `at` is no datetime or a keyword.
        """
        if at is MISSING:
            raise missing_position("schedule_at", "task" if task is MISSING else "at", kwargs)
        self._add(task, as_utc(at), args, kwargs)

    def pending(self) -> Sequence[BatchEntry]:
        """What is to be sent.

        Raises:
            InvalidArgument: the batch was scheduled already.
        """
        self._refuse_used()
        return tuple(self._entries)

    def sent(self, rest: Iterable[BatchEntry] = ()) -> None:
        """Forget what was sent.

        Args:
            rest: what was not; empty ends the batch.
        """
        self._entries = list(rest)
        self._scheduled = not self._entries

    def _add(
        self, task: Any, at: datetime | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._refuse_used()
        name = task if isinstance(task, str) else getattr(task, "__name__", repr(task))
        arguments = encode_arguments(args, kwargs, task=name)
        self._entries.append(BatchEntry(task, at, args, kwargs, arguments))

    def _refuse_used(self) -> None:
        if self._scheduled:
            raise InvalidArgument(
                "This batch was scheduled already and would run its jobs twice. "
                "Make a new Batch() for more jobs."
            )
