"""Buffer: leases for idle threads and for the buffer differ in what their loss costs."""

from __future__ import annotations

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids
from ..invariants import holds
from ..lab import Lab


class BufferBehaviour(BrokerBehaviour):
    """Direct and buffered leases."""

    @holds("I9")
    def test_first_leases_are_direct_and_the_others_buffered(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(5)))
        leases = lab.process().take(idle=2, extra=3)
        assert [lease.direct for lease in leases] == [True, True, False, False, False]

    @holds("I4", "I7", "I11")
    def test_lost_direct_lease_spends_an_attempt_and_counts_a_loss(self, lab: Lab) -> None:
        job = deposit(max_retries=5)
        lab.enqueue(job)
        doomed, survivor = lab.process(), lab.process()
        doomed.take_one()
        assert lab.bury(doomed, survivor) == []
        assert lab.counts().unfinished == 1
        lab.live_until_due(survivor)
        lease = survivor.take_one()
        assert (lease.stored_id, lease.record) == (job.stored_id, job.record)
        assert (lease.retries, lease.losses) == (1, 1)

    @holds("I4", "I7")
    def test_lost_buffered_lease_spends_nothing(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(max_retries=1) for _ in range(3)))
        doomed, survivor = lab.process(), lab.process()
        assert len(doomed.take(idle=0, extra=3)) == 3
        assert lab.bury(doomed, survivor) == []
        lab.live_until_due(survivor)
        leases = survivor.take(idle=3)
        assert [(lease.retries, lease.losses) for lease in leases] == [(0, 0)] * 3

    @holds("I3", "I9")
    def test_job_that_lost_a_buffered_lease_is_leased_for_idle_threads_only(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        doomed, survivor = lab.process(), lab.process()
        _, buffered = doomed.take(idle=1, extra=1)
        lab.bury(doomed, survivor)
        lab.live_until_due(survivor)
        assert buffered.stored_id not in ids(survivor.take(idle=0, extra=10))
        assert buffered.stored_id in ids(survivor.take(idle=2, extra=0))
