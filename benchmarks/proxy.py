"""A proxy before the server: delays both directions, and counts what clients send.

Run as a program of its own, so that it shares no interpreter lock with what it serves:
`python -m benchmarks.proxy PORT DELAY_SECONDS`. It prints its port; each line that comes in is
answered by the commands seen so far, by name.
"""

from __future__ import annotations

import collections
import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from .environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CommandCounter", "Proxy", "proxied"]

#: Bytes read at a time.
READ_BYTES = 1 << 18


class CommandCounter:
    """Counts commands in what one connection sends, in pieces of any size."""

    def __init__(self, counts: collections.Counter[str]) -> None:
        self._counts = counts
        self._rest = b""
        #: Whether the first part of the present command, its name, has come.
        self._named = False
        #: Bytes of the present part still to come, with its line end.
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Take in a piece."""
        data = self._rest + data
        at = 0
        while True:
            if self._skip:
                if len(data) - at < self._skip:
                    break
                if not self._named:
                    self._named = True
                    self._counts[data[at : at + self._skip - 2].decode().upper()] += 1
                at += self._skip
                self._skip = 0
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            if data[at : at + 1] == b"*":
                self._named = False
            elif data[at : at + 1] == b"$":
                self._skip = int(data[at + 1 : end]) + 2
            at = end + 2
        self._rest = data[at:]


class _Direction:
    """Carries bytes one way, each piece a fixed time after it came.

    Reading and writing are threads of their own, so that a delay limits no throughput.
    `time.sleep` is exact to some 60 µs; an event loop rounds up to the millisecond.
    """

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        delay: float,
        counter: CommandCounter | None,
    ) -> None:
        self._source = source
        self._target = target
        self._delay = delay
        self._counter = counter
        self._pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        for function in (self._read, self._write):
            threading.Thread(target=function, daemon=True).start()

    def _read(self) -> None:
        data = b"?"
        while data:
            try:
                data = self._source.recv(READ_BYTES)
            except OSError:
                data = b""
            self._pieces.put((time.monotonic() + self._delay, data))
            if self._counter is not None:
                self._counter.feed(data)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = self._pieces.get()
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                if not data:
                    break
                self._target.sendall(data)
        for each in (self._source, self._target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def serve(port: int, delay: float) -> None:
    """Forward connections to a port until the input ends."""
    counts: collections.Counter[str] = collections.Counter()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(("127.0.0.1", port))
            for each in (client, upstream):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Direction(client, upstream, delay, None if delay else CommandCounter(counts))
            _Direction(upstream, client, delay, None)

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for _ in sys.stdin:
        print(json.dumps(counts), flush=True)


class Proxy:
    """A proxy process, as the measures see it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"redis://127.0.0.1:{int(self._line())}/0"

    def counts(self) -> dict[str, int]:
        """Commands that clients sent so far, by name; only without a delay."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._line())
        return counts

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextlib.contextmanager
def proxied(port: int, delay_seconds: float = 0.0) -> Iterator[Proxy]:
    """A proxy for the block.

    Args:
        port: of the server.
        delay_seconds: of each direction, half of what it adds to a round trip. Without
            one the proxy counts commands instead.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.proxy", str(port), str(delay_seconds)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Proxy(process)
        finally:
            process.terminate()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
