"""Servers for tests: started, stopped, started again. Reused by tests of other packages.

One server stands here; several that belong together are in `replicas`, `sentinels` and
`clusters`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis

from .binaries import NoServer, find_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["NoServer", "Server", "find_binary", "free_port", "running_server", "until"]

START_SECONDS = 20.0

#: A Cluster node talks to the others at its port and this much.
BUS_DISTANCE = 10_000


def free_port() -> int:
    """A port of this machine that nobody listens on, nor at its bus port."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                bus.bind(("127.0.0.1", port + BUS_DISTANCE))
                return port


def until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: it was not true in time; `what` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Exception):
            answer = condition()
            if answer:
                return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.01)


class Server:
    """A server process of a test, reachable over a unix socket and a port.

    It may be stopped and started again: port, directory and options stay the same.

    Args:
        folder: its working directory, for the test alone. Short: the path of a unix
            socket has about a hundred characters.
        options: for its command line, such as `--appendonly yes`.
        port: to listen on; None for a free one.
        sentinel: run as a Sentinel, with the text of its file of settings.
        environment: variables beside those of this process.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        port: int | None = None,
        sentinel: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.port = free_port() if port is None else port
        self._options = options
        self._sentinel = sentinel
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Over the port, which a proxy can stand before."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        """Over the unix socket."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Of the process.

        Raises:
            RuntimeError: it does not run.
        """
        if self._process is None:
            raise RuntimeError("The server does not run.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def client(self, **options: Any) -> Redis:
        """A plain client for the test itself."""
        return Redis(unix_socket_path=str(self.socket), **options)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)

    def _command(self) -> list[str]:
        listen = [
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
        ]
        if self._sentinel is None:
            settings = ["--save", "", "--appendfsync", "always"]
            return [str(find_binary()), *listen, *settings, *self._options]
        path = self.folder / "sentinel.conf"
        if not path.exists():
            # A Sentinel writes what it learns into this file.
            path.write_text(self._sentinel)
        return [str(find_binary()), str(path), "--sentinel", *listen, *self._options]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                # One that wants a password answers as well.
                return probe.recv(100).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False

    def stop(self, *, kill: bool = False) -> None:
        """End it; with `kill` as a power failure would. Twice is fine."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait(10)
            self._process = None
        self.socket.unlink(missing_ok=True)

    def restart(self, *, kill: bool = False) -> None:
        """Stop it, and start it again on the same port and directory."""
        self.stop(kill=kill)
        self.start()

    def freeze(self) -> None:
        """Stop it from running, its connections left open, until `thaw` or `stop`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@contextlib.contextmanager
def running_server(
    *options: str, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server for the block, in a directory that goes with it.

    Raises:
        NoServer: no binary.
    """
    ports = [port] if port else ()
    with running_servers(1, *options, ports=ports, environment=environment) as [server]:
        yield server


@contextlib.contextmanager
def running_servers(
    count: int,
    *options: str,
    ports: tuple[int, ...] | list[int] = (),
    sentinel: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[list[Server]]:
    """Several alike for the block, each in a directory that goes with it.

    Raises:
        NoServer: no binary.
    """
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for number in range(count):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sp-")))
            port = ports[number] if ports else None
            server = Server(folder, *options, port=port, sentinel=sentinel, environment=environment)
            # Also one whose start fails half-way.
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        yield servers
