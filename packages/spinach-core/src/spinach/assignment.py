"""A leased job on its way through this process; the hand-over moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .membership import Membership
    from .outcome import Lease
    from .task import Task

__all__ = ["Assignment"]


# A struct, as the records in spinach.outcome are: one is made for each job. Nothing that
# it refers to leads back to it, so the collector of cycles need not look at it.
class Assignment(msgspec.Struct, eq=False, gc=False):
    """A leased job on its way through this process; the hand-over's lock guards it."""

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
