"""Ports of this machine at which no server is to be had, each in its way."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mute_port", "swallowing_port"]

#: More than a backlog of nothing takes.
KNOCKS = 8


@contextlib.contextmanager
def mute_port() -> Iterator[int]:
    """Connections can be made, since the kernel makes them, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield int(listener.getsockname()[1])


@contextlib.contextmanager
def swallowing_port() -> Iterator[int]:
    """What asks for a connection is dropped, as by a firewall: the backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(KNOCKS):
            knock = stack.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
