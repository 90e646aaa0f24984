"""A leased job on its way through this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from spinach.outcome import Lease
    from spinach.task import Task
    from spinach.worker.membership import Membership

__all__ = ["LeasedJob"]


# A struct, as the records in spinach.outcome are: one is made for each job. The collector of
# cycles sees it, since a task's function may lead back to what holds it.
class LeasedJob(msgspec.Struct, eq=False):
    """A leased job on its way; the lock of the in-flight jobs guards it."""

    lease: Lease
    membership: Membership
    task: Task[..., Any]
    #: Monotonic seconds.
    arrived: float = 0.0
    started: float = 0.0
    #: Given back while it ran; what the thread says of it later is void.
    abandoned: bool = False
    #: The store does not count it as ours; its outcome will be refused.
    stray: bool = False
