"""What a mutation is: a rule, a change that takes it away, and the test that must fail.

A change replaces a piece of source text that has to be there exactly once. Where the source has
changed since, a test says so, as it does where the named test is gone.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CONFORMANCE",
    "CORE_TESTS",
    "KEYS",
    "MEMORY",
    "REDIS_TESTS",
    "SCRIPTS",
    "Mutation",
    "copy_packages",
]

#: What may be changed, and what the tests of it import.
PACKAGES = ("spinach", "spinach_memory", "spinach_redis", "spinach_testing")

SCRIPTS = "spinach_redis/scripts"
CONFORMANCE = "packages/spinach-redis/tests/test_conformance.py::TestOneServer"
REDIS_TESTS = "packages/spinach-redis/tests"
CORE_TESTS = "packages/spinach-core/tests"
MEMORY = "packages/spinach-memory/tests/test_conformance.py"
KEYS = "packages/spinach-redis/faults/test_keys.py"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One rule, taken away."""

    rule: str
    #: Below the folder that holds the packages.
    file: str
    before: str
    after: str
    #: File of the test that must fail, and its name.
    tests: str
    test: str

    def apply(self, folder: Path) -> None:
        """Change a copy of the packages.

        Raises:
            AssertionError: the text to change is not there, or more than once.
        """
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        times = text.count(self.before)
        assert times == 1, (
            f"{self.file} has {times} times the text that {self.rule!r} changes, expected one. "
            f"Write the mutation anew: {self.before!r}"
        )
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


def copy_packages(folder: Path) -> None:
    """Put a copy of each package into a folder, from wherever it is installed."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        assert spec.origin is not None, name
        shutil.copytree(
            Path(spec.origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
