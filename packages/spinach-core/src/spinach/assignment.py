"""A leased job on its way through this process; the hand-over moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .membership import Membership
    from .outcome import Lease
    from .task import Task

__all__ = ["Assignment"]


class Assignment:
    """A leased job on its way through this process."""

    __slots__ = ("abandoned", "arrived", "lease", "membership", "started", "stray", "task")

    def __init__(self, lease: Lease, membership: Membership, task: Task[..., Any]) -> None:
        self.lease = lease
        self.membership = membership
        self.task = task
        #: Monotonic seconds.
        self.arrived = 0.0
        self.started = 0.0
        #: Given back while it ran; what the thread says of it later is void.
        self.abandoned = False
        #: The store does not count it as ours; its outcome will be refused.
        self.stray = False
