"""What a thread of the engine does in a forked child: it ends the child.

A task may fork, and so may a receiver of a signal, a log handler or whatever else of a user's
runs on these threads. When that code comes back in the child, the thread has a copy of all that
the parent's has: of jobs that wait in the buffer, of outcomes to report, of memberships. None of
it belongs to the child, so the child sends no signal, reports nothing and runs nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from spinach.support.exception_text import class_name, message_of, traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

__all__ = ["PROCESS", "EngineThread", "end_child", "leave_child"]

#: How long a child that ends may take to write what it has to say, in seconds.
_WRITE_SECONDS = 5.0


class _Process:
    """Tells a forked child from its parent by a number.

    The number is compared after each job: `os.getpid`, a system call, takes ten times as long.
    """

    __slots__ = ("_watched", "in_child", "number")

    def __init__(self) -> None:
        #: Another one in a forked child than in its parent, once `watch` was called.
        self.number = 0
        #: Called in each forked child before it goes on.
        self.in_child: list[Callable[[], None]] = []
        self._watched = False

    def watch(self) -> None:
        """Count forks from now on; again does nothing."""
        # Nothing forks where there is no such function, as on Windows.
        register = getattr(os, "register_at_fork", None)
        if register is not None and not self._watched:
            self._watched = True
            register(after_in_child=self._forked)

    def _forked(self) -> None:
        self.number += 1
        for call in self.in_child:
            call()


#: Of the interpreter, as forks are.
PROCESS: Final = _Process()


class EngineThread(threading.Thread):
    """A thread of a worker pool, or one that runs jobs in a test.

    Args:
        args: as for `threading.Thread`.
        kwargs: likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Number of the process it belongs to. In a forked child it is not the child's.
        self.process = PROCESS.number


def leave_child(err: BaseException | None = None) -> None:
    """End the process if the calling thread is the engine's and began in another one.

    Call it wherever code of users returns to a thread of the engine, before a lock is taken:
    in a child, locks that other threads held at the fork stay locked for ever.

    Args:
        err: what that code raised; None: it returned.
    """
    thread = threading.current_thread()
    if isinstance(thread, EngineThread) and thread.process != PROCESS.number:
        end_child(err)


def end_child(err: BaseException | None) -> NoReturn:
    """End the process, a forked child, at once: no `finally`, no `atexit`.

    The exit status is 0 without an exception, that of a `SystemExit`, else 1 after a traceback
    on stderr. What was printed is flushed.
    """
    status = 1
    try:
        status, text = _status(err)
        # On a thread of its own: another thread may have held the lock of a stream at the
        # fork, and would hold it for ever.
        writer = threading.Thread(target=_write, args=(text,), daemon=True)
        writer.start()
        writer.join(_WRITE_SECONDS)
    finally:
        os._exit(status)


def _status(err: BaseException | None) -> tuple[int, str]:
    """The exit status, and what to write to stderr."""
    if err is None:
        return 0, ""
    if issubclass(type(err), SystemExit):
        with suppress(BaseException):
            code = err.code  # type: ignore[attr-defined] # it is a SystemExit
            if code is None:
                return 0, ""
            # As the system would cut it.
            return (int(code) & 0xFF, "") if isinstance(code, int) else (1, f"{code}\n")
        return 1, f"{class_name(type(err))}: {message_of(err)}\n"
    return 1, traceback_of(err)


def _write(text: str) -> None:
    # Streams may be closed, missing, or the user's own.
    with suppress(BaseException):
        sys.stdout.flush()
    with suppress(BaseException):
        sys.stderr.write(text)
        sys.stderr.flush()
