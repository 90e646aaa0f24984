"""Producers that go on through any fault."""

from __future__ import annotations

from spinach.exc import BrokerError

from .beside import Beside
from .fleet import until
from .scene import MIX, Scene

__all__ = ["Load"]


class Load(Beside):
    """Schedules batches into a namespace, in a thread of its own, for the block.

    Args:
        scene: to schedule into; nobody else does meanwhile.
        tasks: of one batch.
        pause_seconds: between two batches.
        kwargs: of all jobs.
    """

    def __init__(
        self,
        scene: Scene,
        tasks: tuple[str, ...] = MIX,
        *,
        pause_seconds: float = 0.05,
        **kwargs: object,
    ) -> None:
        super().__init__("producer")
        self._scene = scene
        self._tasks = tasks
        self._pause_seconds = pause_seconds
        self._kwargs = kwargs
        #: What the producer was told.
        self.errors: list[BrokerError] = []

    def work(self) -> None:
        """Schedule one batch after the other."""
        while not self.over.wait(self._pause_seconds):
            try:
                self._scene.schedule(*self._tasks, **self._kwargs)
            except BrokerError as error:
                self.errors.append(error)

    def goes_on(self, jobs: int = 20, seconds: float = 60.0) -> None:
        """Wait until this many further jobs were accepted."""
        goal = len(self._scene.jobs) + jobs
        until(lambda: len(self._scene.jobs) >= goal, seconds, f"{jobs} more jobs accepted")
