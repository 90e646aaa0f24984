"""A proxy on the loopback that loses requests or answers when it is told to."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from dataclasses import dataclass

__all__ = ["Loss", "Proxy"]


class Loss(enum.Enum):
    #: The connection ends before the server sees the request.
    REQUEST = "request"
    #: The server carries the request out, and its answer is lost.
    ANSWER = "answer"


@dataclass
class _Plan:
    needle: bytes
    loss: Loss
    #: Requests with the needle that pass unharmed before.
    skip: int
    #: Losses left.
    times: int


class Proxy:
    """Forwards connections to a server.

    Requests are told apart by a needle, such as the name of a script. Of requests that
    were sent together, those from the first one with the needle on are lost.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        # Guards the plan and the list of sockets.
        self._lock = threading.Lock()
        self._plan: _Plan | None = None
        self._sockets: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def lose(self, loss: Loss, needle: bytes, *, skip: int = 0, times: int = 1) -> None:
        """Plan losses; replaces an earlier plan."""
        with self._lock:
            self._plan = _Plan(needle, loss, skip, times)

    @property
    def losses_left(self) -> int:
        with self._lock:
            return 0 if self._plan is None else self._plan.times

    def close(self) -> None:
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._sockets]
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets += (client, upstream)
            muted = threading.Event()
            for function in (self._requests, self._answers):
                threading.Thread(
                    target=function, args=(client, upstream, muted), name="proxy", daemon=True
                ).start()

    def _requests(
        self, client: socket.socket, upstream: socket.socket, muted: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                at, loss = self._strike(data)
                if loss is None:
                    upstream.sendall(data)
                elif loss is Loss.REQUEST:
                    # What stands before the request in question goes through whole.
                    upstream.sendall(data[: data.rfind(b"*", 0, at)])
                    break
                else:
                    muted.set()
                    upstream.sendall(data)
        if not muted.is_set():
            self._end(client, upstream)

    def _answers(
        self, client: socket.socket, upstream: socket.socket, muted: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(1 << 20):
                if muted.is_set():
                    break
                client.sendall(data)
        self._end(client, upstream)

    def _strike(self, data: bytes) -> tuple[int, Loss | None]:
        with self._lock:
            plan = self._plan
            at = -1
            while plan is not None and plan.times > 0:
                at = data.find(plan.needle, at + 1)
                if at < 0:
                    break
                if plan.skip > 0:
                    plan.skip -= 1
                    continue
                plan.times -= 1
                return at, plan.loss
        return -1, None

    def _end(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        with self._lock:
            self._sockets = [s for s in self._sockets if s not in sockets]
