"""Time as it is, also in a test that has frozen it.

freezegun puts its own classes and functions in the place of those of `datetime` and `time`,
in these two and in every module that holds one of them. It finds modules by `sys.modules`,
and does not look into classes, so what must stay real is kept elsewhere. time-machine
changes the functions themselves: its wall clock reaches everybody, while the monotonic clock
goes on.

Deadlines count by `time` from here: by a frozen one they would never end.
"""

from __future__ import annotations

import importlib.util
from datetime import datetime
from typing import TYPE_CHECKING, Any

__all__ = ["Real", "time"]


def _copy_of(name: str) -> Any:
    """A copy of a built-in module that `sys.modules` does not hold."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import time
else:
    time = _copy_of("time")


class Real:
    """Keeps what freezegun would replace in a module."""

    #: In a frozen test the name in `datetime` stands for a subclass of freezegun's.
    datetime: type[datetime] = next(
        each for each in datetime.__mro__ if each.__module__ == "datetime"
    )
