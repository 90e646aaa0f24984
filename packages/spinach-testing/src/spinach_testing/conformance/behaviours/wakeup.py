"""Wake-up: one process that waits wakes up for each job, and for nothing else.

What must happen is waited for; what must not gets a moment to happen
(`Lab.settle_seconds`), so that a slow machine hides a fault rather than making
one up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import DEATH_NOTICE, MANY_CALLS, Call, Lab
from ..process import Process

if TYPE_CHECKING:
    from spinach.brokers.calls import FetchReply

HOUR = timedelta(hours=1)
LIMITED = "letters.print"

#: Longer than any test, whether its clock is turned or flows by itself.
LONG_SECONDS = 1_000_000.0

#: Wake-ups that may be left over from what was enqueued and is not takeable now.
LEFT_OVER = 3


def wait(lab: Lab, process: Process, *, idle: int = 1, extra: int = 0) -> Call[FetchReply]:
    """Let a process wait for jobs on a thread of its own."""
    return lab.background(lambda: process.fetch(idle=idle, extra=extra, block_seconds=LONG_SECONDS))


def brought(call: Call[FetchReply]) -> list[str]:
    """Wait for the call and return the ids of the jobs that it brought."""
    reply = call.result()
    assert reply.verdict is Verdict.APPLIED
    return ids(reply.leases)


class WakeupBehaviour(BrokerBehaviour):
    """`Broker.fetch` with `block_seconds`, and `Broker.interrupt`."""

    @holds("I14")
    def test_waiting_process_gets_the_job_that_comes(self, lab: Lab) -> None:
        call = wait(lab, lab.process())
        job = deposit()
        lab.enqueue(job)
        assert brought(call) == [job.stored_id]

    @holds("I14")
    def test_process_does_not_wait_while_jobs_are_ready(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        first, second = lab.process(), lab.process()
        assert len(first.take(idle=1)) == 1
        assert len(brought(wait(lab, second))) == 1

    @holds("I14")
    def test_process_waits_while_there_is_nothing_to_take(self, lab: Lab) -> None:
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)), deposit("parked"), deposit("failed"))
        process = lab.process()
        parked, failed, *_ = process.take(idle=2)
        process.park(parked)
        process.fail(failed)
        call = wait_in_vain(lab, process)
        assert not call.ends_within(lab.settle_seconds)

    @holds("I14")
    def test_one_job_wakes_one_of_several_processes(self, lab: Lab) -> None:
        calls = [wait(lab, lab.process()) for _ in range(4)]
        job = deposit()
        lab.enqueue(job)
        woken = first_to_end(lab, calls)
        assert brought(woken) == [job.stored_id]
        others = [call for call in calls if call is not woken]
        assert not others[0].ends_within(lab.settle_seconds)
        assert not any(call.ends_within(0) for call in others)

    @holds("I14")
    def test_as_many_processes_wake_as_there_are_jobs(self, lab: Lab) -> None:
        calls = [wait(lab, lab.process()) for _ in range(3)]
        jobs = [once() for _ in range(3)]
        lab.enqueue(*jobs)
        assert sorted(sum((brought(call) for call in calls), [])) == sorted(ids(jobs))

    @holds("I14")
    def test_each_of_several_enqueues_wakes_a_process(self, lab: Lab) -> None:
        calls = [wait(lab, lab.process()) for _ in range(3)]
        jobs = [deposit() for _ in range(3)]
        for job in jobs:
            lab.broker().enqueue([job])
        assert sorted(sum((brought(call) for call in calls), [])) == sorted(ids(jobs))

    @holds("I14")
    def test_process_waits_in_all_its_queues(self, lab: Lab) -> None:
        process = lab.process(QUEUE, "invoices")
        call = lab.background(
            lambda: process.fetch_from([QUEUE, "invoices"], idle=1, block_seconds=LONG_SECONDS)
        )
        job = deposit(queue="invoices")
        lab.enqueue(job)
        here, there = call.result()
        assert (ids(here.leases), ids(there.leases)) == ([], [job.stored_id])

    @holds("I14", "I21")
    def test_job_of_another_queue_wakes_nobody(self, lab: Lab) -> None:
        call = wait(lab, lab.process())
        lab.enqueue(deposit(queue="invoices"))
        assert not call.ends_within(lab.settle_seconds)
        lab.enqueue(deposit())
        assert len(brought(call)) == 1

    @holds("I14", "I21")
    def test_job_of_another_namespace_wakes_nobody(self, lab: Lab) -> None:
        call = wait(lab, lab.process())
        lab.broker(namespace="elsewhere").enqueue([deposit()])
        assert not call.ends_within(lab.settle_seconds)
        lab.enqueue(deposit())
        assert len(brought(call)) == 1

    @holds("I14")
    def test_job_that_becomes_due_wakes_a_process(self, lab: Lab) -> None:
        job = deposit(due_ms=lab.in_ms(HOUR))
        lab.enqueue(job)
        waiting, keeper = lab.process(), lab.process()
        assert wait_through(lab, waiting, keeper, HOUR) == [job.stored_id]

    @holds("I14")
    def test_retry_that_becomes_due_wakes_a_process(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        worker, waiting = lab.process(), lab.process()
        worker.retry(worker.take_one(), delay=HOUR)
        assert wait_through(lab, waiting, worker, HOUR) == [job.stored_id]

    @holds("I14")
    def test_process_that_waits_hears_of_an_earlier_instant(self, lab: Lab) -> None:
        # It has to look after the promotion, or nobody would until its wait ends.
        call = wait(lab, lab.process())
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        reply = call.result()
        assert reply.leases == ()
        assert reply.next_due_in_ms is not None

    @holds("I14")
    def test_released_job_wakes_a_process(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        worker, waiting = lab.process(), lab.process()
        lease = worker.take_one()
        call = wait_in_vain(lab, waiting)
        worker.release(lease)
        assert brought(call) == [job.stored_id]

    @holds("I14")
    def test_job_retried_by_a_person_wakes_a_process(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        worker, waiting = lab.process(), lab.process()
        worker.fail(worker.take_one())
        call = wait_in_vain(lab, waiting)
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        assert brought(call) == [job.stored_id]

    @holds("I14", "I15")
    def test_fired_tick_wakes_a_process(self, lab: Lab) -> None:
        firer, waiting = lab.process(periodic={"report": HOUR}), lab.process()
        lab.advance(HOUR)
        [due] = firer.tick(periodic=["report"]).due
        call = wait(lab, waiting)
        firer.broker.fire(QUEUE, "report", due.due_ms, deposit("report"))
        assert len(brought(call)) == 1

    @holds("I10", "I14")
    def test_free_slot_wakes_a_process(self, lab: Lab) -> None:
        first, second = deposit(LIMITED), deposit(LIMITED)
        lab.enqueue(first, second)
        worker, waiting = (lab.process(limits={LIMITED: 1}) for _ in range(2))
        [lease] = worker.take(idle=2)
        assert lease.stored_id == first.stored_id
        call = wait_in_vain(lab, waiting)
        worker.succeed(lease)
        assert brought(call) == [second.stored_id]

    @holds("I14", "I20")
    def test_jobs_of_a_process_that_stops_wake_another(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        stopping, waiting = lab.process(), lab.process()
        leases = stopping.take(idle=1, extra=1)
        call = wait(lab, waiting, idle=2)
        stopping.release(*leases)
        assert stopping.leave().verdict is Verdict.APPLIED
        assert brought(call) == ids(leases)

    @holds("I14", "I20")
    def test_wake_up_taken_by_a_process_that_stops_is_passed_on(self, lab: Lab) -> None:
        job = deposit()
        stopping, waiting = lab.process(), lab.process()
        call = wait(lab, stopping, idle=0)
        lab.enqueue(job)
        assert brought(call) == []
        assert stopping.leave().verdict is Verdict.APPLIED
        assert brought(wait(lab, waiting)) == [job.stored_id]

    @holds("I11", "I14")
    def test_jobs_of_the_dead_wake_a_process(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        doomed, survivor, waiting = [lab.process() for _ in range(3)]
        doomed.take_one()
        assert doomed.member() in lab.live(DEATH_NOTICE, survivor, waiting)
        lab.recover(doomed, survivor)
        assert wait_through(lab, waiting, survivor, 24 * HOUR) == [job.stored_id]

    @holds("I14")
    def test_interrupt_ends_a_wait(self, lab: Lab) -> None:
        process = lab.process()
        call = wait(lab, process)
        # Comes before the wait or during it; either way nobody waits.
        process.broker.interrupt()
        assert brought(call) == []

    @holds("I14")
    def test_interrupt_before_a_fetch_lets_it_not_wait(self, lab: Lab) -> None:
        process = lab.process()
        process.broker.interrupt()
        assert brought(wait(lab, process)) == []

    @holds("I14")
    def test_interrupt_counts_for_one_fetch(self, lab: Lab) -> None:
        process = lab.process()
        process.broker.interrupt()
        process.broker.interrupt()
        assert brought(wait(lab, process)) == []
        call = wait(lab, process)
        assert not call.ends_within(lab.settle_seconds)

    @holds("I14")
    def test_interrupt_concerns_one_process(self, lab: Lab) -> None:
        process, other = lab.process(), lab.process()
        call = wait(lab, process)
        other.broker.interrupt()
        assert not call.ends_within(lab.settle_seconds)

    @holds("I14")
    def test_interrupted_fetch_takes_what_is_there(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit())
        process.broker.interrupt()
        assert len(brought(wait(lab, process))) == 1

    @holds("I14")
    def test_wait_ends_by_itself(self, lab: Lab) -> None:
        process = lab.process()
        call = lab.background(lambda: process.fetch(block_seconds=0.2))
        for _ in range(MANY_CALLS):
            # The wait may begin after this; then the next turn ends it.
            lab.advance(timedelta(seconds=1))
            if call.ends_within(0.05):
                break
        assert brought(call) == []


def wait_in_vain(lab: Lab, process: Process) -> Call[FetchReply]:
    """Let a process wait while nothing is takeable, past wake-ups that are left over."""
    for _ in range(LEFT_OVER):
        call = wait(lab, process)
        if not call.ends_within(lab.settle_seconds):
            return call
        assert brought(call) == []
    raise AssertionError(f"nothing was takeable, and a process was woken {LEFT_OVER} times")


def wait_through(lab: Lab, waiting: Process, keeper: Process, span: timedelta) -> list[str]:
    """Let a process wait while time passes and another one promotes; what it got."""
    for _ in range(LEFT_OVER):
        call = wait(lab, waiting)
        # Small steps: the wait is to end by a promotion, early in the span or late.
        step = span / 50
        while span > timedelta(0) and not call.ends_within(0):
            lab.advance(step)
            span -= step
            keeper.tick()
        if got := brought(call):
            return got
    return []


def first_to_end(lab: Lab, calls: list[Call[FetchReply]]) -> Call[FetchReply]:
    """The call that ends first; which process a broker wakes is its own affair."""
    for _ in range(MANY_CALLS):
        for call in calls:
            if call.ends_within(lab.settle_seconds / 10):
                return call
    raise AssertionError("a job came, and no process that waited woke up")
