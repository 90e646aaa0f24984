"""What tasks, queues and namespaces may be called."""

from __future__ import annotations

import re
from typing import Final

from spinach.exc import InvalidName

__all__ = ["NAME", "NAMESPACE_PATTERN", "NAME_PATTERN", "check_name"]

#: Letters and digits, as a part of a character class. All names may have them.
_LETTERS: Final = "A-Za-z0-9"

#: Other characters of a namespace. There is no `/` among them, since it ends the namespace in
#: the names of keys.
_IN_NAMESPACES: Final = "_.:-"

#: Other characters of tasks and queues. A worker parks a record that has others in its names
#: where no release takes it up. So a release that allows more has to mark such records with a
#: flag or a version of their own, for the workers of earlier releases.
_IN_NAMES: Final = "_.:-/@"

_LONGEST: Final = 200

#: The name of a task or a queue, as a part of a regular expression.
NAME: Final = f"[{_LETTERS}{re.escape(_IN_NAMES)}]{{1,{_LONGEST}}}"
NAME_PATTERN: Final = re.compile(NAME)
NAMESPACE_PATTERN: Final = re.compile(f"[{_LETTERS}{re.escape(_IN_NAMESPACES)}]{{1,{_LONGEST}}}")


def check_name(name: object, what: str) -> str:
    """Return a task, queue or namespace name if it is one.

    Args:
        name: to check.
        what: "task", "queue" or "namespace", for the error.

    Raises:
        InvalidName: wrong type, length or characters; a queue that is reserved.
    """
    in_namespace = what == "namespace"
    pattern = NAMESPACE_PATTERN if in_namespace else NAME_PATTERN
    if not isinstance(name, str) or pattern.fullmatch(name) is None:
        signs = _IN_NAMESPACES if in_namespace else _IN_NAMES
        message = (
            f"{what} name is {name!r}, expected 1 to {_LONGEST} of the characters "
            f"A-Z a-z 0-9 {' '.join(signs)}"
        )
        if usable := _usable(name, signs):
            message += f". Replace the others, as in {usable!r}."
        raise InvalidName(message)
    if what == "queue" and name.startswith("_"):
        raise InvalidName(
            f"queue name is {name!r}, but names that start with _ are reserved. "
            "Choose one that starts with a letter or a digit."
        )
    return str(name)


def _usable(name: object, signs: str) -> str:
    """A name that is allowed and reads like this one; empty where there is none."""
    if not isinstance(name, str) or len(name) > _LONGEST:
        return ""
    return re.sub(f"[^{_LETTERS}{re.escape(signs)}]+", "_", name).strip("_")
