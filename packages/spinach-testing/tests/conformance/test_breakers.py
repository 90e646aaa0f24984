"""The suite rejects every broken broker, and no sound one."""

from __future__ import annotations

import pytest

from spinach_testing.conformance import Harness
from spinach_testing.conformance.breakers import BREAKERS, Breaker, rejections


@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda breaker: breaker.__name__)
def test_suite_rejects(breaker: type[Breaker], new_harness: type[Harness]) -> None:
    found = next(rejections(new_harness, breaker), None)

    assert found is not None, f"no test that holds {breaker.breaks} notices {breaker.__name__}"


def test_suite_accepts_a_wrapper_that_breaks_nothing(new_harness: type[Harness]) -> None:
    found = list(rejections(new_harness, Breaker, whole_suite=True))

    assert found == []


def test_error_of_a_breaker_does_not_count_as_a_rejection(new_harness: type[Harness]) -> None:
    class Crashes(Breaker):
        breaks = "I2"

        def enqueue(self, deposits: object) -> list[bool]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        next(rejections(new_harness, Crashes))


def test_each_breaker_says_what_it_does_wrong() -> None:
    described = {breaker.__doc__ for breaker in BREAKERS}

    assert None not in described
    assert len(described) == len(BREAKERS)
