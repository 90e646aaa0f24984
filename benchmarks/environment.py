"""The virtual environment of each contestant: made once, kept beside the results."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .roster import Contestant

__all__ = ["ROOT", "Environments", "plain_environ"]

#: The repository.
ROOT = Path(__file__).resolve().parent.parent


class Environments:
    """Finds or makes environments.

    Args:
        folder: where they are kept.
        python: the interpreter that they are made with; None is this one.
        here: use this interpreter for Spinach and the floor, which it has installed.
    """

    def __init__(self, folder: Path, python: Path | None = None, *, here: bool = False) -> None:
        self._folder = folder
        self._python = python or Path(sys.executable)
        self._here = here

    def python(self, contestant: Contestant) -> Path:
        """The interpreter to run a contestant's adapter with.

        Raises:
            subprocess.CalledProcessError: it could not be installed.
        """
        if self._here and contestant.kind in {"floor", "spinach"}:
            return Path(sys.executable)
        wanted = "\n".join(contestant.requirements)
        folder = self._folder / contestant.environment
        python = folder / "bin" / "python"
        stamp = folder / "requirements"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return python
        shutil.rmtree(folder, ignore_errors=True)
        _run([*_uv(), "venv", "--quiet", "--python", str(self._python), str(folder)])
        arguments = ["--quiet", "--compile-bytecode", "--python", str(python)]
        arguments += [part for text in contestant.requirements for part in text.split()]
        _run([*_uv(), "pip", "install", *arguments])
        stamp.write_text(wanted, encoding="utf-8")
        return python

    @staticmethod
    def key(python: Path) -> str:
        """Tells environments of several interpreters apart."""
        return python.name + "-" + hashlib.sha256(str(python).encode()).hexdigest()[:8]


def plain_environ() -> dict[str, str]:
    """The environment variables of a contestant: none that makes Python behave unusually.

    Where no bytecode may be written each import compiles its module anew, which costs time
    and memory that no user pays.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _uv() -> list[str]:
    found = Path(sys.executable).parent / "uv"
    return [str(found)] if found.exists() else ["uv"]


def _run(command: list[str]) -> None:
    # In the repository, since the requirements name folders of it.
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"})
