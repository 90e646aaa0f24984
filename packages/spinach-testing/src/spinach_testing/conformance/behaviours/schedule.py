"""Schedule: jobs for later become ready in time, in order, and never early."""

from __future__ import annotations

from datetime import timedelta

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import BEAT, TOLERANCE_MS, Lab
from ..process import MILLISECOND

HOUR = timedelta(hours=1)
HOUR_MS = HOUR // MILLISECOND


class ScheduleBehaviour(BrokerBehaviour):
    """Future jobs, `Broker.tick`, and the timekeeper."""

    @holds("I8")
    def test_future_job_is_not_handed_out_early(self, lab: Lab) -> None:
        lab.enqueue(deposit(due_ms=lab.in_ms(2 * HOUR)), once(due_ms=lab.in_ms(2 * HOUR)))
        process = lab.process()
        for _ in range(2):
            process.tick()
            assert process.take(idle=5, extra=5) == []
            assert lab.counts().future == 2
            lab.advance(HOUR * 0.9)

    @holds("I8")
    def test_future_job_is_ready_at_its_instant(self, lab: Lab) -> None:
        job = deposit(due_ms=lab.in_ms(HOUR))
        lab.enqueue(job)
        process = lab.process()
        lab.advance(HOUR)
        process.tick()
        lease = process.take_one()
        assert (lease.stored_id, lease.retries) == (job.stored_id, 0)
        assert lab.counts().future == 0

    @holds("I9")
    def test_jobs_become_ready_in_the_order_of_their_instants(self, lab: Lab) -> None:
        jobs = [deposit(due_ms=lab.in_ms(HOUR * n)) for n in range(1, 6)]
        lab.enqueue(*reversed(jobs))
        lab.advance(6 * HOUR)
        process = lab.process()
        process.tick()
        assert ids(process.take(idle=5)) == ids(jobs)

    @holds("I9")
    def test_job_that_becomes_due_stands_behind_those_that_are_ready(self, lab: Lab) -> None:
        due, ready = deposit(due_ms=lab.in_ms(HOUR)), deposit()
        lab.enqueue(due, ready)
        lab.advance(HOUR)
        process = lab.process()
        process.tick()
        assert ids(process.take(idle=5)) == ids([ready, due])

    @holds("I8")
    def test_tick_promotes_only_what_is_due(self, lab: Lab) -> None:
        soon, late = deposit(due_ms=lab.in_ms(HOUR)), deposit(due_ms=lab.in_ms(10 * HOUR))
        lab.enqueue(late, soon)
        lab.advance(2 * HOUR)
        process = lab.process()
        process.tick()
        assert ids(process.take(idle=5)) == [soon.stored_id]

    @holds("I8")
    def test_tick_tells_when_the_next_job_is_due(self, lab: Lab) -> None:
        process = lab.process()
        assert process.tick().next_due_in_ms is None
        lab.enqueue(deposit(due_ms=lab.in_ms(2 * HOUR)), deposit(due_ms=lab.in_ms(HOUR)))
        first = process.tick().next_due_in_ms
        assert first is not None
        assert HOUR_MS - TOLERANCE_MS < first <= HOUR_MS
        lab.advance(HOUR)
        second = process.tick().next_due_in_ms
        assert second is not None
        assert HOUR_MS - TOLERANCE_MS < second <= HOUR_MS
        lab.advance(HOUR)
        assert process.tick().next_due_in_ms is None

    @holds("I1")
    def test_ticks_of_several_processes_promote_a_job_once(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(due_ms=lab.in_ms(HOUR)) for _ in range(10)))
        processes = [lab.process() for _ in range(3)]
        lab.advance(HOUR)
        for process in processes:
            process.tick()
        assert lab.counts().ready == 10
        assert sum(len(process.take(idle=10)) for process in processes) == 10

    @holds("I21")
    def test_tick_of_one_queue_leaves_the_others_alone(self, lab: Lab) -> None:
        lab.enqueue(deposit(queue="invoices", due_ms=lab.in_ms(HOUR)))
        lab.advance(2 * HOUR)
        assert lab.process(QUEUE).tick(QUEUE).next_due_in_ms is None
        assert lab.counts("invoices").future == 1

    @holds("I8")
    def test_one_member_at_a_time_keeps_the_time(self, lab: Lab) -> None:
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        processes = [lab.process() for _ in range(3)]
        told = [process.fetch().next_due_in_ms for process in processes]
        keepers = [due for due in told if due is not None]
        assert len(keepers) == 1
        assert HOUR_MS - TOLERANCE_MS < keepers[0] <= HOUR_MS

    @holds("I8")
    def test_timekeeper_stays_while_it_fetches(self, lab: Lab) -> None:
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        keeper, other = lab.process(), lab.process()
        for _ in range(3):
            assert keeper.fetch().next_due_in_ms is not None
            assert other.fetch().next_due_in_ms is None

    @holds("I8")
    def test_another_member_keeps_the_time_when_the_timekeeper_is_silent(self, lab: Lab) -> None:
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        keeper, *others = [lab.process() for _ in range(3)]
        assert keeper.fetch().next_due_in_ms is not None
        # Within one lease; how much sooner is the broker's choice.
        told: list[float] = []
        for _ in range(3):
            lab.live(BEAT, *others)
            told += [due for each in others if (due := each.fetch().next_due_in_ms) is not None]
        assert told
