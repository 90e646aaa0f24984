"""Which process this is: the one that something began in, or a child that was forked since."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["PROCESS"]


class _Process:
    """Tells a forked child from its parent by a number.

    The number is compared after each job: `os.getpid`, a system call, takes ten times as long.
    """

    __slots__ = ("_watched", "number")

    def __init__(self) -> None:
        #: Another one in a forked child than in its parent, once `watch` was called.
        self.number = 0
        self._watched = False

    def watch(self) -> None:
        """Count forks from now on; again does nothing."""
        # Nothing forks where there is no such function, as on Windows.
        register = getattr(os, "register_at_fork", None)
        if register is not None and not self._watched:
            self._watched = True
            register(after_in_child=self._forked)

    def _forked(self) -> None:
        self.number += 1


#: Of the interpreter, as forks are.
PROCESS: Final = _Process()
