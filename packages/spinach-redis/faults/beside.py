"""What a test does beside its faults, in a thread of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

__all__ = ["Beside"]


class Beside(ABC):
    """Works from the beginning of a `with` block to its end; an error of it is raised there.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        #: Set at the end of the block.
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._broken: BaseException | None = None

    @abstractmethod
    def work(self) -> None:
        """Go on until `over` is set."""

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as exc:  # noqa: BLE001 - raised at the end of the block
            self._broken = exc

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        # A call tries for half a minute.
        self._thread.join(60)
        assert not self._thread.is_alive(), f"the {self._thread.name} hangs"
        if self._broken is not None:
            raise self._broken
