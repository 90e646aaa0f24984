"""A batch: jobs that are collected first and scheduled together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from spinach.clock import as_utc
from spinach.definition.call_options import CallOptions
from spinach.definition.overloads import Collecting, typed_as
from spinach.exc import InvalidArgument
from spinach.options import BatchWithOptions
from spinach.record.payload import encode_arguments
from spinach.support.checks import MISSING, missing_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

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
    #: None: none were asked for.
    options: CallOptions | None = None


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
        self._add(None, task, None, args, kwargs)

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
        self._add(None, task, as_utc(at), args, kwargs)

    def options(
        self, *, expires_in: timedelta | None = None, headers: Mapping[str, str] | None = None
    ) -> BatchWithOptions:
        """What adds jobs with options to this batch; see `Engine.options`.

        Args:
            expires_in: no attempt begins later than this after the instant at which the job is
                to start. Without one that is when the batch is scheduled. None: the job never
                expires.
            headers: texts that travel with the job; None: it has none.

        Raises:
            InvalidArgument: one that cannot be used.
        """
        return BatchWithOptions(self._add, CallOptions.of(expires_in=expires_in, headers=headers))

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
        self,
        options: CallOptions | None,
        task: Any,
        at: datetime | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._refuse_used()
        name = task if isinstance(task, str) else getattr(task, "__name__", repr(task))
        arguments = encode_arguments(args, kwargs, task=name)
        self._entries.append(BatchEntry(task, at, args, kwargs, arguments, options))

    def _refuse_used(self) -> None:
        if self._scheduled:
            raise InvalidArgument(
                "This batch was scheduled already and would run its jobs twice. "
                "Make a new Batch() for more jobs."
            )
