"""Each invariant that concerns brokers has a test and a breaker, and nothing is left out."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from spinach_testing.conformance import (
    BROKER_INVARIANTS,
    BrokerBehaviour,
    BrokerConformance,
    behaviours,
    conformance_tests,
    holds,
)
from spinach_testing.conformance.breakers import BREAKERS
from spinach_testing.conformance.table import invariant_table


@pytest.mark.parametrize("invariant", BROKER_INVARIANTS)
def test_invariant_has_a_test(invariant: str) -> None:
    assert any(invariant in test.invariants for test in conformance_tests())


@pytest.mark.parametrize("invariant", BROKER_INVARIANTS)
def test_invariant_has_a_breaker(invariant: str) -> None:
    assert any(breaker.breaks == invariant for breaker in BREAKERS)


def test_each_test_cites_an_invariant() -> None:
    assert [test.name for test in conformance_tests() if not test.invariants] == []


def test_no_two_tests_have_one_name() -> None:
    # In the class that joins the behaviours, one of them would hide the other.
    methods = [test.method for test in conformance_tests()]

    assert sorted(set(methods)) == sorted(methods)


def test_no_behaviour_is_left_out() -> None:
    for module in pkgutil.iter_modules(behaviours.__path__):
        importlib.import_module(f"{behaviours.__name__}.{module.name}")

    written = set(BrokerBehaviour.__subclasses__())
    assert written == set(BrokerConformance.__bases__), "List them in conformance/suite.py."


def test_table_has_a_row_for_each_invariant() -> None:
    rows = invariant_table().splitlines()[2:]

    assert [row.split("|")[1].strip() for row in rows] == list(BROKER_INVARIANTS)
    assert all("`test_" in row for row in rows)


@pytest.mark.parametrize("invariants", [(), ("I16",), ("I5", "I99"), ("fencing",)])
def test_invariants_that_no_broker_keeps_are_refused(invariants: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected invariants that a broker keeps"):
        holds(*invariants)
