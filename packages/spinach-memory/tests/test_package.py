"""What the package offers, and that having it costs nothing."""

from __future__ import annotations

import inspect
import threading
from datetime import timedelta

import pytest

import spinach_memory
from spinach.brokers.base import Broker
from spinach.clock import SystemClock
from spinach.exc import BrokerInUse, InvalidArgument
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.conformance import deposit


def test_all_names_what_the_package_exports() -> None:
    public = {
        name
        for name, value in vars(spinach_memory).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == set(spinach_memory.__all__)


def test_building_a_broker_starts_no_thread() -> None:
    before = threading.active_count()
    MemoryBroker()
    assert threading.active_count() == before


def test_defaults_are_those_of_every_broker() -> None:
    broker = MemoryBroker()
    assert isinstance(broker, Broker)
    assert isinstance(broker.clock, SystemClock)
    assert broker.lease == timedelta(seconds=30)
    assert broker.max_payload_bytes == 512 * 1024


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="lease"):
        MemoryBroker(lease=timedelta(seconds=1))
    with pytest.raises(InvalidArgument, match="max_payload_bytes"):
        MemoryBroker(max_payload_bytes=0)


def test_broker_without_an_engine_says_so() -> None:
    with pytest.raises(BrokerInUse, match="serves no engine"):
        MemoryBroker().enqueue([deposit()])


def test_brokers_have_stores_of_their_own_unless_they_are_given_one() -> None:
    shared = MemoryStore()
    alone, one, other = MemoryBroker(), MemoryBroker(shared), MemoryBroker(shared)
    for broker in (alone, one, other):
        broker.bind("ns", object())
    one.enqueue([deposit(queue="q")])
    ready = [broker.counts(["q"])[0].ready for broker in (alone, one, other)]
    assert ready == [0, 1, 1]


def test_broker_works_after_it_was_closed_twice() -> None:
    broker = MemoryBroker()
    broker.bind("ns", object())
    broker.enqueue([deposit(queue="q")])
    broker.close()
    broker.close()
    assert broker.counts(["q"])[0].ready == 1
