"""A block of logging or signals, in which nothing that goes wrong harms the job."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from spinach.support.forks import leave_child
from spinach.support.log import WORKER_LOGGER

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SHIELD"]


class _Shield:
    """For a block that calls log handlers or receivers of the user's.

    What they raise is logged, if that is possible, and goes no further. In a forked child that
    comes back from them the process ends.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        leave_child(err)
        if kind is None or err is None:
            return False
        # If it was logging that failed, this may fail as well.
        with suppress(BaseException):
            WORKER_LOGGER.error(
                "A signal receiver or log handler raised; the job is unaffected",
                exc_info=(kind, err, trace),
            )
        leave_child()
        return True


#: Has no state, so one does for all.
SHIELD: Final = _Shield()
