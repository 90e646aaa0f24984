"""What the test classes of all behaviours have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .harness import Harness

__all__ = ["BrokerBehaviour"]


class BrokerBehaviour:
    """Base of the classes that hold one behaviour each.

    A class that is to run needs the fixture `harness`. Tests take `lab` and
    nothing else, so that they also run without pytest, see `conformance_tests`.
    """

    @pytest.fixture
    def harness(self) -> Harness:
        """To be overridden with the harness of the broker under test."""
        raise NotImplementedError(
            f"{type(self).__name__} has no fixture named harness. Add one that yields the "
            "Harness of your broker; spinach_testing.conformance shows how."
        )

    @pytest.fixture
    def lab(self, harness: Harness) -> Iterator[Lab]:
        """The harness with the helpers of the suite around it."""
        with Lab(harness) as lab:
            yield lab
