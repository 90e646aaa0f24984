"""Waits for a server, ended by the kernel where it can.

A Python socket with a timeout asks the kernel twice, for `poll` before each `send` and
each `recv`, and gives up the interpreter lock each time. A call of a broker is one `send`
and one `recv`, so half of its system calls go without. Where Python has to end the waits, the
`poll` before the `send` is spared all the same.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from typing import Final, TypeGuard

from spinach.support.threads import ServiceThread

__all__ = [
    "MOST_SENT_AT_ONCE",
    "bind_to_kernel",
    "is_plain",
    "is_silent",
    "kernel_timeout",
    "may_bind",
    "send_at_once",
]

#: What mostly fits into a send buffer, in bytes. `sendall` waits anew for each part of what
#: does not, so that one limit would not hold for all.
MOST_SENT_AT_ONCE: Final = 16 * 1024

#: Where the layout of `struct timeval` below holds.
_SUPPORTED: Final = sys.platform == "linux" and sys.maxsize > 2**32
_TIMEVAL: Final = struct.Struct("@ll")
#: Windows has no such flag, and no socket there gets so far.
_LOOK: Final[int] = socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0)


def may_bind() -> bool:
    """Whether the kernel may end waits of this thread: the engine's own threads alone.

    After a signal that reaches the thread, Python begins such a wait anew, with the whole limit.
    Signals go to the main thread, and to any other one where that blocks them. Calls of a program
    run on such threads, and have to keep their deadlines.
    """
    return _SUPPORTED and isinstance(threading.current_thread(), ServiceThread)


def is_plain(sock: object) -> TypeGuard[socket.socket]:
    """Whether a socket is a file whose methods are system calls and nothing else.

    One read of TLS may take several `recv`, and gevent's and eventlet's sockets wait in another
    way. On Windows sockets are no files.
    """
    return (
        sys.platform != "win32"
        and isinstance(sock, socket.socket)
        and type(sock).__module__ == "socket"
    )


def bind_to_kernel(sock: object, seconds: float) -> bool:
    """Have the kernel end waits of a connected socket, and Python no longer.

    Args:
        sock: of a connection.
        seconds: longest wait.

    Returns:
        Whether that was done. Sockets that are not plain are left as they are.
    """
    if not is_plain(sock):
        return False
    # A limit of 0 would be none.
    limit = _TIMEVAL.pack(int(seconds), max(1, int(seconds % 1 * 1_000_000)))
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.settimeout(None)
        return True
    return False


def send_at_once(sock: socket.socket, data: bytes) -> bytes:
    """Send what the kernel takes without a wait, on a plain socket that Python ends waits of.

    Returns:
        What is left to send.

    Raises:
        OSError: the connection broke, or a signal handler raised it; some may have been sent.
    """
    try:
        return data[os.write(sock.fileno(), data) :]
    except BlockingIOError:
        # It takes nothing now.
        return data


def is_silent(sock: socket.socket) -> bool:
    """Whether there is nothing to read, not even the end, on a socket so bound.

    Raises:
        OSError: the connection broke.
    """
    try:
        sock.recv(1, _LOOK)
    except BlockingIOError:
        return True
    return False


def kernel_timeout(error: BaseException, handled: BaseException | None) -> bool:
    """Whether redis-py raised this because the kernel ended a wait.

    Args:
        error: that it raised.
        handled: what the caller was handling meanwhile; it stands behind every error.
    """
    cause = error if isinstance(error, BlockingIOError) else error.__context__
    return isinstance(cause, BlockingIOError) and cause is not handled
