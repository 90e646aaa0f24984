"""Enqueue: what is accepted is stored once, whole and in order."""

from __future__ import annotations

from datetime import timedelta

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import Lab

OTHER = "invoices"


class EnqueueBehaviour(BrokerBehaviour):
    """`Broker.enqueue`."""

    @holds("I1")
    def test_enqueue_of_nothing_does_nothing(self, lab: Lab) -> None:
        assert lab.enqueue() == []
        assert lab.counts().enqueued == 0

    @holds("I2")
    def test_enqueued_job_is_handed_out_once(self, lab: Lab) -> None:
        job = deposit()
        assert lab.enqueue(job) == [True]
        process = lab.process()
        assert ids(process.take(idle=10)) == [job.stored_id]
        assert process.take(idle=10) == []

    @holds("I1")
    def test_enqueued_job_waits_for_the_first_process_that_joins(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        assert lab.counts().ready == 1
        assert lab.process().take_one().retries == 0

    @holds("I9")
    def test_jobs_of_one_call_become_ready_in_the_order_given(self, lab: Lab) -> None:
        jobs = [deposit() if n % 3 else once() for n in range(30)]
        lab.enqueue(*jobs)
        assert ids(lab.process().take(idle=30)) == ids(jobs)

    @holds("I9")
    def test_jobs_of_later_calls_stand_behind(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(5)]
        for job in jobs:
            lab.enqueue(job)
        process = lab.process()
        assert [process.take_one().stored_id for _ in jobs] == ids(jobs)

    @holds("I1", "I2", "I9")
    def test_batch_beyond_one_chunk_arrives_whole_and_in_order(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(1201)]
        assert lab.enqueue(*jobs) == [True] * len(jobs)
        assert lab.counts().ready == len(jobs)
        process = lab.process()
        taken: list[str] = []
        while leases := process.take(idle=400):
            taken += ids(leases)
            process.succeed(*leases)
        assert taken == ids(jobs)

    @holds("I8")
    def test_enqueue_tells_what_is_ready_and_what_waits(self, lab: Lab) -> None:
        jobs = [
            deposit(),
            deposit(due_ms=lab.in_ms(timedelta(hours=1))),
            deposit(due_ms=lab.in_ms(-timedelta(hours=1))),
            deposit(due_ms=0),
            deposit(due_ms=lab.now_ms()),
        ]
        assert lab.enqueue(*jobs) == [True, False, True, True, True]
        assert lab.counts().ready == 4
        assert lab.counts().future == 1

    @holds("I21")
    def test_one_call_spans_queues(self, lab: Lab) -> None:
        here, there = deposit(), deposit(queue=OTHER)
        waiting = deposit(queue=OTHER, due_ms=lab.in_ms(timedelta(hours=1)))
        also_here = deposit()
        assert lab.enqueue(here, there, waiting, also_here) == [True, True, False, True]
        process = lab.process(QUEUE, OTHER)
        assert ids(process.take(idle=9)) == ids([here, also_here])
        assert ids(process.take(idle=9, queue=OTHER)) == ids([there])

    @holds("I9")
    def test_several_producers_feed_one_queue(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(3)]
        for job in jobs:
            lab.broker().enqueue([job])
        assert ids(lab.process().take(idle=3)) == ids(jobs)
