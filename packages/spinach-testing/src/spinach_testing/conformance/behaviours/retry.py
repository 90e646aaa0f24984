"""Retry: an attempt is spent and the job comes back, unharmed and not early."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, once
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

HOUR = timedelta(hours=1)


class RetryBehaviour(BrokerBehaviour):
    """The outcome RETRY."""

    @holds("I4", "I7")
    def test_retry_spends_an_attempt(self, lab: Lab) -> None:
        job = deposit(max_retries=9)
        lab.enqueue(job)
        process = lab.process()
        for retries in range(4):
            lease = process.take_one()
            assert (lease.stored_id, lease.retries, lease.losses) == (job.stored_id, retries, 0)
            process.retry(lease)
            lab.advance(timedelta(seconds=1))
            lab.promote()

    @holds("I8")
    def test_retry_waits_for_its_delay(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.retry(process.take_one(), delay=HOUR)
        assert lab.counts().retrying == 1
        lab.promote()
        assert process.take(idle=5, extra=5) == []
        lab.advance(HOUR / 2)
        lab.promote()
        assert process.take(idle=5, extra=5) == []
        # A delay counts from the next whole ms, which may not have come on a server's own clock.
        lab.advance(HOUR / 2 + timedelta(milliseconds=1))
        lab.promote()
        assert process.take_one().retries == 1

    @holds("I8")
    def test_retry_waits_for_its_instant(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        told = outcome(OutcomeKind.RETRY, process.take_one(), at_ms=lab.in_ms(HOUR))
        assert process.report(told) == (Verdict.APPLIED,)
        lab.advance(HOUR / 2)
        lab.promote()
        assert process.take(idle=5, extra=5) == []
        lab.advance(HOUR / 2)
        lab.promote()
        assert process.take_one().retries == 1

    @holds("I4")
    def test_instant_in_the_past_means_now(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        told = outcome(OutcomeKind.RETRY, process.take_one(), at_ms=lab.in_ms(-HOUR))
        assert process.report(told) == (Verdict.APPLIED,)
        lab.promote()
        assert process.take_one().retries == 1

    @holds("I4", "I18")
    def test_job_is_the_same_at_each_attempt(self, lab: Lab) -> None:
        job = deposit(payload=b"\x00\xff\r\n|1|")
        lab.enqueue(job)
        first, second = lab.process(), lab.process()
        first.retry(first.take_one())
        lab.promote()
        assert second.take_one().record == job.record

    @holds("I7")
    def test_attempts_are_counted_job_by_job(self, lab: Lab) -> None:
        tired, fresh = deposit(), deposit()
        lab.enqueue(tired, fresh)
        process = lab.process()
        process.retry(process.take_one())
        lab.promote()
        seen = {lease.stored_id: lease.retries for lease in process.take(idle=2)}
        assert seen == {tired.stored_id: 1, fresh.stored_id: 0}

    @holds("I7")
    def test_retried_job_may_be_buffered_and_succeed(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.retry(process.take_one())
        lab.promote()
        [lease] = process.take(idle=0, extra=1)
        assert (lease.direct, lease.retries) == (False, 1)
        process.succeed(lease)
        assert lab.counts().unfinished == 0

    @holds("I1")
    def test_job_that_waits_for_a_retry_is_in_no_other_place(self, lab: Lab) -> None:
        lab.enqueue(deposit(), once())
        process = lab.process()
        process.retry(process.take_one(), delay=HOUR)
        counts = lab.counts()
        assert (counts.ready, counts.leased, counts.retrying) == (1, 0, 1)
        assert (counts.future, counts.failed, counts.parked, counts.held) == (0, 0, 0, 0)
