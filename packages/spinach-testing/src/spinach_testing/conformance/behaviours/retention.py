"""Retention: what a failed store keeps is said by the worker that joined last."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.brokers.calls import FailedFilter, FailedPortion, Place
from spinach.const import MAX_FAILED_AGE
from spinach.retention import FailedRetention

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import Lab

if TYPE_CHECKING:
    from spinach.brokers.calls import Deposit

    from ..process import Process

HOUR = timedelta(hours=1)


def fail(lab: Lab, process: Process, count: int = 1, *, size: int = 2) -> list[Deposit]:
    """Let so many new jobs fail, in one report."""
    jobs = [deposit(payload=b"x" * size) for _ in range(count)]
    lab.enqueue(*jobs)
    process.fail(*process.take(idle=count))
    return jobs


class RetentionBehaviour(BrokerBehaviour):
    """`failed_retention` of a broker."""

    @holds("I19")
    def test_worker_says_how_many_failed_jobs_are_kept(self, lab: Lab) -> None:
        process = lab.process(retention=FailedRetention(number=3))
        jobs = fail(lab, process, 5)
        assert ids(lab.client.failed_jobs(QUEUE)) == ids(jobs[:1:-1])
        jobs += fail(lab, process)
        assert ids(lab.client.failed_jobs(QUEUE)) == ids(jobs[:2:-1])
        assert lab.counts().failed == 3

    @holds("I19")
    def test_worker_says_how_long_failed_jobs_are_kept(self, lab: Lab) -> None:
        process = lab.process(retention=FailedRetention(age=HOUR))
        [old] = fail(lab, process)
        lab.advance(HOUR / 2)
        [new] = fail(lab, process)
        assert ids(lab.client.find_jobs([QUEUE], [old.stored_id])) == [old.stored_id]
        lab.advance(HOUR * 0.75)
        # The client was told of nothing, and its own broker would keep them for longer.
        assert ids(lab.client.failed_jobs(QUEUE)) == [new.stored_id]
        assert lab.client.find_failed([QUEUE], [old.stored_id]) == []
        assert ids(lab.client.find_jobs([QUEUE], [old.stored_id, new.stored_id])) == [new.stored_id]
        for places in ((), (Place.FAILED,)):
            assert ids(lab.client.list_jobs(QUEUE, places=places).jobs) == [new.stored_id]
        newest = lab.client.failed_jobs(QUEUE)[0].cursor
        portion = FailedPortion(matching=FailedFilter(), until=newest)
        assert lab.client.retry_matching(QUEUE, portion).count == 1
        assert lab.client.retry_failed(QUEUE, [old.stored_id]) == 0
        assert lab.client.discard_failed(QUEUE, [old.stored_id]) == 0
        assert lab.counts().failed == 0

    @holds("I19")
    def test_worker_says_how_many_bytes_of_failed_jobs_are_kept(self, lab: Lab) -> None:
        process = lab.process(retention=FailedRetention(size=10_000))
        jobs = fail(lab, process, 3, size=4000)
        assert ids(lab.client.failed_jobs(QUEUE)) == ids(jobs[:0:-1])
        [larger] = fail(lab, process, size=20_000)
        assert ids(lab.client.failed_jobs(QUEUE)) == [larger.stored_id]

    @holds("I19")
    def test_retention_may_be_longer_than_the_usual_one(self, lab: Lab) -> None:
        process = lab.process(retention=FailedRetention(age=3 * MAX_FAILED_AGE))
        [job] = fail(lab, process)
        lab.advance(2 * MAX_FAILED_AGE)
        assert lab.counts().failed == 1
        assert ids(lab.client.failed_jobs(QUEUE)) == [job.stored_id]
        assert ids(lab.client.find_jobs([QUEUE], [job.stored_id])) == [job.stored_id]
        assert ids(lab.client.list_jobs(QUEUE).jobs) == [job.stored_id]
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1

    @holds("I19", "I24")
    def test_purge_removes_none_that_is_too_old_in_the_place_of_another(self, lab: Lab) -> None:
        process = lab.process(retention=FailedRetention(age=HOUR))
        fail(lab, process, 150)
        lab.live(2 * HOUR, process)
        # Not all of the others may have been dropped by then.
        fail(lab, process)
        assert lab.client.purge(QUEUE, "failed", 1).removed == 1
        assert lab.client.failed_jobs(QUEUE) == []
        assert not lab.client.purge(QUEUE, "failed", 1).more

    @holds("I19")
    def test_worker_that_joined_last_says_what_is_kept(self, lab: Lab) -> None:
        first = lab.process(retention=FailedRetention(number=2))
        fail(lab, first, 3)
        assert lab.counts().failed == 2
        second = lab.process(retention=FailedRetention(number=4))
        # It counts for all of them, whoever reports, and whoever looks.
        fail(lab, first, 9)
        assert lab.counts().failed == 4
        assert len(first.broker.failed_jobs(QUEUE)) == 4
        lab.process(retention=FailedRetention(number=1))
        fail(lab, second)
        assert lab.counts().failed == 1

    @holds("I19", "I21")
    def test_each_queue_keeps_what_its_own_workers_say(self, lab: Lab) -> None:
        lab.process("invoices", retention=FailedRetention(number=1))
        fail(lab, lab.process(), 3)
        assert lab.counts().failed == 3
