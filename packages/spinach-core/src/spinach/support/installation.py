"""The warning about an installed distribution `spinach`, whose package has the same folder.

Only that one is searched for: installing it overwrites files of this package, and removing it
takes them away.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

from spinach.support.log import ENGINE_LOGGER

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["older_spinach", "warn_of_older_spinach"]


def older_spinach(folders: Iterable[str]) -> str | None:
    """The record of an installed `spinach`, as a path; None where there is none.

    By the names of files: importlib.metadata knows as well, and costs a worker that has no
    other use for it 1.8 MiB and 20 ms; this takes half a millisecond.

    Args:
        folders: to look in; those that cannot be read are passed over.
    """
    for folder in folders:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - pathlib is not loaded otherwise
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info") and stem.partition("-")[0] == "spinach":
                return os.path.join(folder, name)  # noqa: PTH118 - as above
    return None


@functools.cache
def warn_of_older_spinach() -> None:
    """Say once a process that both are installed, and the way out."""
    found = older_spinach(sys.path)
    if found is not None:
        ENGINE_LOGGER.warning(
            "The distribution spinach is installed beside spinach-core (%s). Both own the package "
            "spinach, so that either breaks the other when it is installed or removed. Run: "
            "pip uninstall -y spinach spinach-core && pip install spinach-core",
            found,
        )
