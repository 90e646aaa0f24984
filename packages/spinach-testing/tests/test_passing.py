"""A broker that passes every call on: made from the contract, so that it never lags behind."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Any
from unittest import mock

import pytest

from spinach import FailedRetention
from spinach.brokers.base import Broker
from spinach.clock import SystemClock
from spinach_memory import MemoryBroker
from spinach_testing.passing import PassingBroker, passing

METHODS = sorted(Broker.__abstractmethods__)


class WiderBroker(Broker):
    """A contract with a method more."""

    @abstractmethod
    def peek(self, queue: str, *, most: int = 1) -> int:
        """Tell something."""


@pytest.mark.parametrize("name", METHODS)
def test_each_call_goes_to_the_inner_broker_and_its_answer_comes_back(name: str) -> None:
    inner = mock.create_autospec(MemoryBroker, instance=True)
    inner.clock, inner.lease = SystemClock(), MemoryBroker().lease
    inner.max_payload_bytes, inner.failed_retention = 1000, FailedRetention()
    outer = PassingBroker(inner)
    parameters = list(inspect.signature(getattr(outer, name)).parameters.values())
    given = {each.name: object() for each in parameters}
    args = [given[each.name] for each in parameters if each.kind is not each.KEYWORD_ONLY]
    kwargs = {each.name: given[each.name] for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert getattr(outer, name)(*args, **kwargs) is getattr(inner, name).return_value
    assert getattr(inner, name).mock_calls == [mock.call(*args, **kwargs)]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_reads_as_the_contract_has_it(name: str) -> None:
    promised, passed_on = getattr(Broker, name), getattr(PassingBroker, name)
    assert inspect.signature(passed_on) == inspect.signature(promised)
    assert passed_on.__doc__ == promised.__doc__


def test_a_method_that_the_contract_gains_is_passed_on_without_a_line_of_its_own() -> None:
    class Wider(passing(WiderBroker)):  # type: ignore[misc] # it is made here
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

    assert Wider(mock.Mock(peek=lambda queue, *, most: (queue, most))).peek("q", most=3) == ("q", 3)


def test_a_broker_that_lacks_the_method_cannot_be_made() -> None:
    class Forgets(MemoryBroker, WiderBroker):
        pass

    with pytest.raises(TypeError, match="peek"):
        Forgets()  # type: ignore[abstract]


def test_a_subclass_overrides_what_it_changes_and_passes_on_the_rest() -> None:
    class Deaf(PassingBroker):
        def queues(self) -> list[str]:
            return [name.upper() for name in super().queues()]

    inner = mock.Mock(
        clock=SystemClock(),
        lease=MemoryBroker().lease,
        max_payload_bytes=1,
        failed_retention=FailedRetention(number=7),
        queues=lambda: ["q"],
    )
    broker = Deaf(inner)
    assert broker.queues() == ["Q"]
    assert broker.failed_retention.number == 7
    assert broker.counts(["q"]) is inner.counts.return_value
