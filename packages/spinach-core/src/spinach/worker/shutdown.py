"""Signals of the operating system that end a blocking `start_workers`."""

from __future__ import annotations

import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Shutdown"]

#: Those that exist on this platform; SIGBREAK is Windows' Ctrl-Break.
_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")


class Shutdown:
    """Turns termination signals into events while entered, and counts other events.

    Handlers are installed on the main thread only and restored on exit; elsewhere
    entering it changes nothing. In a child that a task forks, a signal restores its handler
    and then does what it did before.
    """

    def __init__(self) -> None:
        # A SimpleQueue may be put to from a signal handler that interrupted a put.
        self._events: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._previous: dict[int, Any] = {}
        self._pid = os.getpid()
        #: Whether it was made on the main thread.
        self.on_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self.on_main:
            for name in _NAMES:
                number = getattr(signal, name, None)
                if number is not None:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in self._previous:
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        handler = self._previous[number]
        # None stands for a handler that was not installed from Python.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, *_: object) -> None:
        if os.getpid() != self._pid:
            # Nobody waits here, and whoever sent it wants the child to end.
            self._put_back(number)
            signal.raise_signal(number)
            return
        self._events.put(True)

    def wake(self) -> None:
        """Let `wait` return although there was no signal; from any thread."""
        self._events.put(False)

    def wait(self, seconds: float) -> bool:
        """Wait for an event.

        Returns:
            Whether it was a signal.
        """
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return False
