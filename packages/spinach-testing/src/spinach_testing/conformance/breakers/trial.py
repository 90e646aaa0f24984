"""Puts a breaker, or a broker, before the suite without pytest."""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING

from ..lab import Lab
from ..suite import ConformanceTest, conformance_tests
from .base import BrokenHarness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..harness import Harness
    from .base import Breaker

__all__ = ["rejections"]

#: Real time that a broken broker gets to do what a sound one does in milliseconds.
_PATIENCE_SECONDS = 1.0

_BREAKERS = __name__.rpartition(".")[0]
_SUITE = _BREAKERS.rpartition(".")[0]


def rejections(
    new_harness: Callable[[], Harness], breaker: type[Breaker], *, whole_suite: bool = False
) -> Iterator[tuple[ConformanceTest, Exception]]:
    """Find the tests that fail with a breaker around a sound broker.

    Lazy: take the first where one rejection is enough.

    Args:
        new_harness: makes an empty store for each test.
        breaker: to put around its brokers.
        whole_suite: run all tests rather than those that hold the invariant which
            the breaker breaks.

    Returns:
        Each test that failed, with its error.

    Raises:
        Exception: the breaker itself failed, or the broker inside.
    """
    for test in conformance_tests():
        if not whole_suite and breaker.breaks not in test.invariants:
            continue
        with (
            BrokenHarness(new_harness(), breaker) as harness,
            Lab(harness, patience_seconds=_PATIENCE_SECONDS) as lab,
        ):
            try:
                test.run(lab)
            except Exception as error:
                if not _raised_by_the_suite(error):
                    raise
                rejection = error
            else:
                continue
        yield test, rejection


def _raised_by_the_suite(error: Exception) -> bool:
    """Whether a test found the fault: an assertion, or an unpacking that does not fit.

    An error that the breaker itself raised is no rejection.
    """
    *_, (frame, _line) = walk_tb(error.__traceback__)
    module: str = frame.f_globals["__name__"]
    return module.startswith(_SUITE) and not module.startswith(_BREAKERS)
