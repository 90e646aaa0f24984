"""The suite rejects every broken broker, and no sound one."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from spinach_testing.conformance import BROKER_INVARIANTS, Harness, breakers
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


def test_no_breaker_is_left_out() -> None:
    for module in pkgutil.iter_modules(breakers.__path__):
        importlib.import_module(f"{breakers.__name__}.{module.name}")
    written, left = set[type[Breaker]](), [Breaker]
    while left:
        children = left.pop().__subclasses__()
        written.update(child for child in children if not child.__subclasses__())
        left += children

    here = {breaker for breaker in written if breaker.__module__.startswith(breakers.__name__)}
    assert here <= set(BREAKERS), "Only public classes are found, in the modules that it lists."


@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda breaker: breaker.__name__)
def test_each_breaker_names_an_invariant(breaker: type[Breaker]) -> None:
    assert breaker.breaks in BROKER_INVARIANTS, f"{breaker.__name__}.breaks is {breaker.breaks!r}"
