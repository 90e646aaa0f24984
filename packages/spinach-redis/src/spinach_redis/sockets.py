"""Waits for a server that the kernel bounds, where it can.

A Python socket with a timeout asks the kernel twice, for `poll` before each `send` and
each `recv`, and gives up the interpreter lock each time. A call of a broker is one `send`
and one `recv`, so half of its system calls go without.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

__all__ = ["MOST_SENT_AT_ONCE", "bound_by_kernel", "is_silent", "kernel_timeout"]

#: What the send buffer takes without a wait if the server reads at all, in bytes. `sendall`
#: waits anew for each part of what is larger, so that one bound would not hold for all.
MOST_SENT_AT_ONCE: Final = 16 * 1024

#: Where the layout of `struct timeval` below holds.
_SUPPORTED: Final = sys.platform == "linux" and sys.maxsize > 2**32
_TIMEVAL: Final = struct.Struct("@ll")


def bound_by_kernel(sock: object, seconds: float) -> bool:
    """Have the kernel end waits of a connected socket, and Python no longer.

    Args:
        sock: of a connection.
        seconds: longest wait.

    Returns:
        Whether that was done. Sockets of other classes are left as they are: TLS waits for
        more than one `recv`, and those of gevent and eventlet wait in another way.
    """
    if not _SUPPORTED or type(sock).__module__ != "socket":
        return False
    assert isinstance(sock, socket.socket)
    limit = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    sock.settimeout(None)
    return True


def is_silent(sock: socket.socket) -> bool:
    """Whether there is nothing to read, not even the end, on a socket so bound.

    Raises:
        OSError: the connection broke.
    """
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    return False


def kernel_timeout(error: BaseException) -> bool:
    """Whether redis-py raised this because the kernel ended a wait."""
    return isinstance(error, BlockingIOError) or isinstance(error.__context__, BlockingIOError)
