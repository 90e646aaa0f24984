"""Set the version of all packages: their own, their siblings' pins, and the constant.

Usage: python tools/bump.py X.Y.Z
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def bump(root: Path, version: str) -> list[Path]:
    """Write a version into each place that holds it.

    Args:
        root: of the repository.
        version: as X.Y.Z, with a1, b1 or rc1 behind it for a release to try out.

    Returns:
        The files that hold it. All are read and checked before the first is written.

    Raises:
        ValueError: not a version, or a file does not hold one where it should.
    """
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is not a version. Write X.Y.Z, such as 1.2.0 or 1.2.0rc1.")
    constant = root / "packages/spinach-core/src/spinach/const.py"
    texts = {constant: replace(constant, r'(?m)^(VERSION: Final = ")[^"]+', version)}
    for path in sorted(root.glob("packages/*/pyproject.toml")):
        text = replace(path, r'(?m)^(version = ")[^"]+', version)
        texts[path] = re.sub(r'("spinach-[a-z]+==)[^"]+', rf"\g<1>{version}", text)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def replace(path: Path, pattern: str, version: str) -> str:
    """Text of a file, with what follows the pattern's group replaced, once."""
    text, times = re.subn(pattern, rf"\g<1>{version}", path.read_text(encoding="utf-8"))
    if times != 1:
        raise ValueError(f"{path} holds its version {times} times, expected once.")
    return text


if __name__ == "__main__":
    try:
        changed = bump(ROOT, *sys.argv[1:])
    except (TypeError, ValueError) as exc:
        sys.exit(f"{exc}\n\n{__doc__}")
    for changed_path in changed:
        print(changed_path.relative_to(ROOT))
