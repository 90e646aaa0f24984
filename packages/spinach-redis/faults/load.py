"""Producers that go on through any fault."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from spinach.exc import BrokerError

from .fleet import until
from .scene import MIX, Scene

__all__ = ["Load"]


class Load:
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
        self._scene = scene
        self._tasks = tasks
        self._pause_seconds = pause_seconds
        self._kwargs = kwargs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        #: What the producer was told.
        self.errors: list[BrokerError] = []
        self.broken: BaseException | None = None

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_seconds):
                try:
                    self._scene.schedule(*self._tasks, **self._kwargs)
                except BrokerError as error:
                    self.errors.append(error)
        except BaseException as exc:  # noqa: BLE001 - raised at the end of the block
            self.broken = exc

    def goes_on(self, jobs: int = 20, seconds: float = 60.0) -> None:
        """Wait until this many further jobs were accepted."""
        goal = len(self._scene.jobs) + jobs
        until(lambda: len(self._scene.jobs) >= goal, seconds, f"{jobs} more jobs accepted")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        # A call tries for half a minute.
        self._thread.join(60)
        assert not self._thread.is_alive(), "the producer hangs"
        if self.broken is not None:
            raise self.broken
