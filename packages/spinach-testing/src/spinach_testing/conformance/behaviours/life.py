"""Life: what holds for a broker object itself."""

from __future__ import annotations

import pytest

from spinach.exc import BrokerInUse

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids
from ..invariants import holds
from ..lab import Lab


class LifeBehaviour(BrokerBehaviour):
    """`Broker.bind` and `Broker.close`."""

    @holds("I21")
    def test_broker_serves_one_engine_for_life(self, lab: Lab) -> None:
        with pytest.raises(BrokerInUse):
            lab.client.bind("another", object())

    @holds("I1")
    def test_closing_loses_nothing(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        lab.client.close()
        lab.client.close()
        assert ids(lab.process().take(idle=5)) == [job.stored_id]

    @holds("I1")
    def test_closed_broker_opens_anew(self, lab: Lab) -> None:
        process = lab.process()
        process.broker.close()
        job = deposit()
        assert process.broker.enqueue([job]) == [True]
        assert ids(process.take(idle=5)) == [job.stored_id]
        assert process.broker.counts(["letters"])[0].members == 1
