"""Import every module of a package, to find what it needs and does not declare.

Usage: python -I tools/import_all.py PACKAGE
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import sys


def others(name: str) -> list[str]:
    """Packages from the index that have been loaded, a package itself left out."""
    distributions = importlib.metadata.packages_distributions()
    loaded = {module.partition(".")[0] for module in sys.modules}
    return sorted(loaded & distributions.keys() - {name})


def import_all(name: str) -> int:
    """Import a package and all that is in it.

    Returns:
        How many modules there are.

    Raises:
        ImportError: one of them needs something that is not there.
    """
    package = importlib.import_module(name)
    modules = [info.name for info in pkgutil.walk_packages(package.__path__, f"{name}.")]
    for module in modules:
        importlib.import_module(module)
    return len(modules) + 1


if __name__ == "__main__":
    number = import_all(sys.argv[1])
    print(f"{sys.argv[1]}: {number} modules, which import {', '.join(others(sys.argv[1]))}")
