"""Signals of the operating system that end a blocking `start_workers`."""

from __future__ import annotations

import queue
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

from spinach.support.forks import PROCESS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["Shutdown"]

#: Those that exist on this platform; SIGBREAK is Windows' Ctrl-Break.
_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")


class Shutdown:
    """Turns termination signals into events while entered, and counts other events.

    Handlers are installed on the main thread only and restored on exit; elsewhere
    entering it changes nothing. In a child that a task forks the former handlers are back.
    """

    def __init__(self) -> None:
        # A SimpleQueue may be put to from a signal handler that interrupted a put.
        self._events: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._previous: dict[int, Any] = {}
        #: Whether it was made on the main thread.
        self.on_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self.on_main:
            PROCESS.watch()
            PROCESS.in_child.append(self._leave_child)
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
        if self.on_main:
            PROCESS.in_child.remove(self._leave_child)
            self._put_back(self._previous)

    def _leave_child(self) -> None:
        """In a forked child: nobody waits here, and whoever sends a signal wants it to end.

        The first signal would be too late: of a child that was forked on another thread than the
        main one, as tasks do, Python 3.13 runs no handlers.
        """
        # What the application has installed since is left alone.
        ours = [n for n in self._previous if signal.getsignal(n) == self._on_signal]
        self._put_back(ours)

    def _put_back(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            handler = self._previous[number]
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, *_: object) -> None:
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
