"""Worker processes of the fault suite: started, held, killed, stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from .application import Settings

__all__ = ["Fleet", "Process", "until"]

PROGRAM = Path(__file__).parent / "program.py"

#: How often `until` looks, in seconds.
LOOK_SECONDS = 0.05


def until(condition: Callable[[], object], seconds: float, what: str = "") -> None:
    """Wait until a condition holds that other processes bring about.

    Raises:
        AssertionError: it does not in this time.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        pause.wait(LOOK_SECONDS)


class Process:
    """A worker program.

    Args:
        settings: what it is told.
        log: where its log goes.
        environment: variables beside those of this process.
    """

    def __init__(
        self, settings: Settings, log: IO[bytes], environment: Mapping[str, str] | None = None
    ) -> None:
        self.settings = settings
        #: Instant at which its end was seen, on the monotonic clock in ns; None: not yet.
        self.ended_at_ns: int | None = None
        self._popen = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(dataclasses.asdict(settings))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
        self.pid = self._popen.pid
        # Guards what was said.
        self._heard = threading.Condition()
        self._said: list[str] = []
        self._over = False
        self._reader = threading.Thread(target=self._read, name=f"reader-{self.pid}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._heard:
                self._said.append(line.decode().strip())
                self._heard.notify_all()
        with self._heard:
            self._over = True
            self._heard.notify_all()

    def said(self, start: str) -> str:
        """The last line that begins so, or nothing."""
        with self._heard:
            return next((line for line in reversed(self._said) if line.startswith(start)), "")

    def expect(self, start: str, seconds: float = 60.0) -> str:
        """Wait until it says something that begins so; each line counts once.

        Raises:
            AssertionError: it does not, or ended.
        """
        deadline = time.monotonic() + seconds
        with self._heard:
            while True:
                for line in self._said:
                    if line.startswith(start):
                        self._said.remove(line)
                        return line
                assert not self._over, f"process {self.pid} ended and did not say {start!r}"
                left = deadline - time.monotonic()
                assert left > 0, f"process {self.pid} does not say {start!r}"
                self._heard.wait(left)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        if self._popen.poll() is None:
            return True
        self._note_end()
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def kill(self) -> int:
        """End it without warning; the instant it was gone, on the monotonic clock in ns."""
        self._popen.kill()
        self._popen.wait(30)
        return self._note_end()

    def _note_end(self) -> int:
        if self.ended_at_ns is None:
            self.ended_at_ns = time.monotonic_ns()
        return self.ended_at_ns

    def stop(self, seconds: float = 60.0) -> None:
        """Stop it as an operator does, and see that it ends well."""
        self._popen.terminate()
        self.ended(seconds)

    def ended(self, seconds: float = 60.0) -> None:
        """Wait for its end.

        Raises:
            AssertionError: it does not end, or not well.
        """
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"process {self.pid} does not stop") from None
        self._note_end()
        assert code == 0, f"process {self.pid} ended with {code}"

    def usage(self) -> tuple[int, int, int]:
        """Its memory in KiB, open files and threads."""
        self.send(signal.SIGUSR1)
        _, memory, files, threads = self.expect("usage").split()
        return int(memory), int(files), int(threads)

    def time(self) -> float:
        """What it takes for the time, in seconds since 1970."""
        self.send(signal.SIGUSR2)
        return float(self.expect("time").split()[1])

    def close(self) -> None:
        """Get rid of it, whatever it does."""
        if self._popen.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGCONT)
            self._popen.kill()
            self._popen.wait(30)
        self._reader.join(10)
        assert self._popen.stdout is not None
        self._popen.stdout.close()


class Fleet:
    """The processes of one test; thread safe.

    Args:
        folder: for effects and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.effects = folder / "effects"
        self.effects.mkdir()
        self._log = (folder / "log").open("ab")
        self._processes: list[Process] = []
        #: (process, instant) at which one was stopped for so long that its leases may have
        #: ended meanwhile.
        self.sleeps: list[tuple[int, int]] = []
        self._asleep: dict[int, int] = {}

    def start(
        self,
        url: str,
        *namespaces: str,
        ready: bool = True,
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> Process:
        """Start a worker program.

        Args:
            url: of the server.
            namespaces: to work for.
            ready: wait until it is about to start its workers.
            environment: variables beside those of this process.
            settings: further fields of `Settings`.
        """
        told = Settings(
            url=url, namespaces=namespaces, effects=str(self.effects), **settings  # type: ignore[arg-type]
        )  # fmt: skip
        process = Process(told, self._log, environment)
        self._processes.append(process)
        if ready:
            process.expect("ready")
        return process

    def kill(self, process: Process) -> float:
        """Kill it; the instant, in seconds of the monotonic clock."""
        if process.pid in self._asleep:
            self._slept(process)
        return process.kill() / 1e9

    def ends(self) -> dict[int, int]:
        """Process → instant at which its end was seen, on the monotonic clock in ns."""
        return {
            process.pid: process.ended_at_ns
            for process in self._processes
            if process.ended_at_ns is not None
        }

    def sleep(self, process: Process) -> None:
        """Stop it where it is, until `wake`."""
        self._asleep[process.pid] = time.monotonic_ns()
        process.send(signal.SIGSTOP)

    def wake(self, process: Process) -> None:
        """Let it go on."""
        self._slept(process)
        process.send(signal.SIGCONT)

    def _slept(self, process: Process) -> None:
        """Its sleep is over, since it goes on or is killed."""
        slept_at = self._asleep.pop(process.pid)
        # The last beat was a third of the lease before, or a little more.
        if time.monotonic_ns() - slept_at > process.settings.lease_seconds / 2 * 1e9:
            self.sleeps.append((process.pid, slept_at))

    def log(self) -> str:
        """What all processes wrote to their logs."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.close()
        self._log.close()
