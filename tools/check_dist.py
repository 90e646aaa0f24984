"""Check that the built distributions hold what they should, and nothing else.

Usage: python tools/check_dist.py DIST
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

#: Distribution as its files name it → the package it imports as.
PACKAGES = {
    "spinach_core": "spinach",
    "spinach_memory": "spinach_memory",
    "spinach_redis": "spinach_redis",
    "spinach_testing": "spinach_testing",
}


def wheel_faults(wheel: Path, package: str) -> list[str]:
    """What is wrong with a wheel: the typing marker, the licence, or strange files."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    faults = [
        f"{wheel.name} lacks {name}"
        for name in (f"{package}/py.typed", f"{info}/licenses/LICENSE", f"{info}/METADATA")
        if name not in names
    ]
    faults += [
        f"{wheel.name} holds {name}, which is neither {package} nor metadata"
        for name in sorted(names)
        if name.split("/")[0] not in {package, info}
    ]
    faults += [
        f"{wheel.name} holds {name}, a test"
        for name in sorted(names)
        if "tests" in name.split("/") or name.split("/")[-1].startswith("test_")
    ]
    return faults


def sdist_faults(sdist: Path, package: str) -> list[str]:
    """What an sdist lacks to be built and tested from."""
    with tarfile.open(sdist) as archive:
        # The first part is the folder that everything lies in.
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = ["LICENSE", "PKG-INFO", "README.md", "pyproject.toml", f"src/{package}/py.typed"]
    faults = [f"{sdist.name} lacks {name}" for name in needed if name not in names]
    if not any(name.startswith("tests/test_") or "/test_" in name for name in names):
        faults.append(f"{sdist.name} lacks its tests")
    return faults


def check(dist: Path) -> list[str]:
    """Faults of all distributions in a folder, each as a sentence; empty is good."""
    faults: list[str] = []
    for name, package in PACKAGES.items():
        built = {"wheel": f"{name}-*.whl", "sdist": f"{name}-*.tar.gz"}
        for kind, pattern in built.items():
            found = list(dist.glob(pattern))
            if len(found) != 1:
                faults.append(f"{dist} holds {len(found)} files {pattern}, expected one")
            for path in found:
                judge = wheel_faults if kind == "wheel" else sdist_faults
                faults += judge(path, package)
    return faults


if __name__ == "__main__":
    if found_faults := check(Path(sys.argv[1])):
        sys.exit("\n".join(found_faults))
    print("Each distribution holds what it should, and nothing else.")
