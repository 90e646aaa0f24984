"""A clock that other processes read and the test sets, while they run.

libfaketime stands between those processes and the system's clock. It is loaded before their
own libraries, so they are the programs that users run, unchanged.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

__all__ = ["FakeClock", "NoLibrary", "find_library"]

#: In the wheel of libfaketime, of which nothing else is used.
_IN_WHEEL = "vendor/libfaketime/src/libfaketime.so.1"


class NoLibrary(Exception):
    """No libfaketime; install it from PyPI (Linux on x86-64) or set SPINACH_LIBFAKETIME."""


def find_library() -> Path:
    """The shared library: `SPINACH_LIBFAKETIME`, or out of the wheel.

    Raises:
        NoLibrary: there is none.
    """
    named = os.environ.get("SPINACH_LIBFAKETIME")
    if named:
        if Path(named).is_file():
            return Path(named)
        raise NoLibrary(f"SPINACH_LIBFAKETIME is {named}, which is not a file.")
    # Found without an import, which would bring in what the library's Python half needs.
    spec = importlib.util.find_spec("libfaketime")
    if spec is not None and spec.origin is not None:
        library = Path(spec.origin).parent / _IN_WHEEL
        if library.is_file():
            return library
    raise NoLibrary(
        "No libfaketime to set clocks with. Install it from PyPI (Linux on x86-64), or set "
        "SPINACH_LIBFAKETIME to the path of libfaketime.so.1."
    )


class FakeClock:
    """The time of day of the processes that are started with its environment.

    What counts durations, the monotonic clock, goes on as it is: so it does where somebody
    sets the clock of a machine.

    Args:
        path: of a file, to be made, that says how wrong the clock is.
        error_seconds: how far ahead of the true time it is, or behind.

    Raises:
        NoLibrary: there is no libfaketime.
    """

    def __init__(self, path: Path, error_seconds: float = 0.0) -> None:
        self._path = path
        self._library = find_library()
        self.set(error_seconds)

    def set(self, error_seconds: float) -> None:
        """Set the clock, for processes that run and those still to come."""
        # In one step: nobody reads half of it.
        replacement = self._path.with_suffix(".new")
        replacement.write_text(f"{error_seconds:+f}\n", encoding="ascii")
        replacement.replace(self._path)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to read this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            # The file is read for every look at the clock.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Times of files stay what they are.
            "NO_FAKE_STAT": "1",
        }
