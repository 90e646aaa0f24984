"""Makes a call in the middle of another one, on its thread, as a signal handler does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Nested", "steps_of"]

_T = TypeVar("_T")

#: Most steps of one call that are tried; of a longer one as many, at equal distances.
MOST_STEPS = 400


class Nested(Generic[_T]):
    """A call with another one nested in it.

    Args:
        outer: to call.
        inner: called once, at a step of it.
        step: which one, from 1: a line of Python that is begun, a call or a return.
    """

    def __init__(self, outer: Callable[[], _T], inner: Callable[[], object], step: int) -> None:
        self._outer = outer
        self._inner = inner
        self._step = step
        #: Steps that were made, until the nested call.
        self.steps = 0
        #: Whether the step was reached, and the nested call ended.
        self.reached = False

    def __call__(self) -> _T:
        """Make the calls; what the outer one returns."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return self._outer()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG002 - as `sys.settrace` has it
        if self.reached:
            return None
        self.steps += 1
        if self.steps == self._step:
            # Nothing is traced meanwhile.
            self._inner()
            self.reached = True
        return self._trace


def steps_of(call: Callable[[], object]) -> Iterator[int]:
    """Steps to nest a call at, of one that makes as many steps as this one."""
    counted = Nested(call, lambda: None, 0)
    counted()
    yield from range(1, counted.steps + 1, 1 + counted.steps // MOST_STEPS)
