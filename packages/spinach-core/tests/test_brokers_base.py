"""The base of brokers: settings, and one engine for life."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spinach.brokers import (
    base,
    calls,
    failed_store,
    housekeeping,
    jobs,
    management,
    operating,
    results,
    role,
    storing,
    verdict,
    working,
)
from spinach.brokers.base import Broker
from spinach.brokers.calls import QueueCounts, Verdict
from spinach.clock import SystemClock
from spinach.const import DEFAULT_MAX_PAYLOAD_BYTES
from spinach.exc import BrokerInUse, InvalidArgument
from spinach_memory import MemoryBroker


def test_defaults_are_those_that_are_promised() -> None:
    broker = MemoryBroker()
    assert broker.lease == timedelta(seconds=30)
    assert broker.max_payload_bytes == DEFAULT_MAX_PAYLOAD_BYTES == 512 * 1024
    assert isinstance(broker.clock, SystemClock)


def test_a_broker_lacking_a_method_cannot_be_made() -> None:
    class Half(Broker):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize("lease", [timedelta(seconds=9.999), timedelta(0), timedelta(-1), 30])
def test_a_short_lease_is_refused(lease: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"lease is .* at least 10 seconds"):
        MemoryBroker(lease=lease)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1", 2**29 + 1])
def test_a_limit_that_makes_no_sense_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"max_payload_bytes is .*expected an int from 1"):
        MemoryBroker(max_payload_bytes=limit)


def test_an_unbound_broker_has_no_namespace() -> None:
    with pytest.raises(BrokerInUse, match=r"Engine\(broker\)"):
        _ = MemoryBroker().namespace


def test_binding_again_for_the_same_engine_is_fine() -> None:
    broker, owner = MemoryBroker(), object()
    broker.bind("shop", owner)
    broker.bind("shop", owner)
    assert broker.namespace == "shop"


def test_another_owner_is_refused_and_both_namespaces_are_named() -> None:
    broker = MemoryBroker()
    broker.bind("shop", object())
    with pytest.raises(BrokerInUse) as info:
        broker.bind("blog", object())
    assert "'shop'" in str(info.value)
    assert "'blog'" in str(info.value)
    assert "Create a broker for each engine" in str(info.value)
    assert broker.namespace == "shop"


#: One for each role.
ROLES = (storing, working, housekeeping, management, operating, jobs, failed_store, results)


@pytest.mark.parametrize(
    "module", [base, role, verdict, *ROLES], ids=lambda module: module.__name__
)
def test_all_names_every_public_class(module: Any) -> None:
    public = {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and name[0] != "_"
    }
    assert set(module.__all__) == public


def test_calls_offers_the_requests_and_replies_of_all_roles() -> None:
    offered = {name for module in (verdict, *ROLES) for name in module.__all__}
    assert set(calls.__all__) == {name for name in offered if not name.endswith("Role")}


def test_a_method_is_promised_by_one_role() -> None:
    """A part of the engine that takes a role has what it calls, and a part of another has not."""
    methods = [
        name
        for each in Broker.__bases__
        for name, value in vars(each).items()
        if getattr(value, "__isabstractmethod__", False)
    ]
    assert sorted([*methods, "close"]) == sorted(Broker.__abstractmethods__)
    assert [each.__module__ for each in Broker.__bases__] == [module.__name__ for module in ROLES]


def test_unfinished_counts_what_workers_still_have_to_do() -> None:
    counts = QueueCounts(
        verdict=Verdict.APPLIED,
        queue="q",
        ready=1,
        held=10,
        leased=100,
        leased_by_dead=1000,
        retrying=10_000,
        future=7,
        parked=7,
        failed=7,
        enqueued=7,
    )
    assert counts.unfinished == 11_111
