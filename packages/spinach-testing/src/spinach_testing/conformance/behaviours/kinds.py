"""Kinds in one FIFO: which jobs may be buffered, and that none overtakes another."""

from __future__ import annotations

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids, once
from ..invariants import holds
from ..lab import Lab

LIMITED = "letters.print"


class KindsBehaviour(BrokerBehaviour):
    """Direct and buffered leases of the kinds of jobs."""

    @holds("I9")
    def test_idle_threads_take_the_first_jobs_whatever_they_are(self, lab: Lab) -> None:
        jobs = [once(), deposit(), once(), deposit(LIMITED), once()]
        lab.enqueue(*jobs)
        leases = lab.process(limits={LIMITED: 1}).take(idle=5, extra=0)
        assert ids(leases) == ids(jobs)
        assert all(lease.direct for lease in leases)

    @holds("I3", "I9")
    def test_buffer_ends_before_the_first_at_most_once_job(self, lab: Lab) -> None:
        jobs = [deposit(), deposit(), once(), deposit()]
        lab.enqueue(*jobs)
        process = lab.process()
        reply = process.fetch(idle=1, extra=10)
        assert ids(reply.leases) == ids(jobs[:2])
        assert reply.more
        # Nor does the next buffer pass it, until an idle thread takes it.
        assert process.take(idle=0, extra=10) == []
        assert [lease.direct for lease in process.take(idle=1, extra=10)] == [True, False]

    @holds("I3", "I9")
    def test_at_most_once_jobs_are_leased_for_idle_threads_only(self, lab: Lab) -> None:
        jobs = [once() for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process()
        assert process.take(idle=0, extra=10) == []
        leases = process.take(idle=2, extra=10)
        assert ids(leases) == ids(jobs[:2])
        assert all(lease.direct for lease in leases)

    @holds("I9")
    def test_buffer_ends_before_the_first_limited_job(self, lab: Lab) -> None:
        jobs = [deposit(), deposit(), deposit(LIMITED), deposit()]
        lab.enqueue(*jobs)
        process = lab.process(limits={LIMITED: 3})
        assert ids(process.take(idle=1, extra=10)) == ids(jobs[:2])
        assert ids(process.take(idle=1, extra=10)) == ids(jobs[2:])

    @holds("I9")
    def test_long_buffer_keeps_the_order_of_mixed_kinds(self, lab: Lab) -> None:
        # Further than the hundred that a broker may look at in one go.
        jobs = [deposit() for _ in range(250)] + [once()] + [deposit() for _ in range(10)]
        lab.enqueue(*jobs)
        process = lab.process()
        assert ids(process.take(idle=1, extra=400)) == ids(jobs[:250])
        assert ids(process.take(idle=1, extra=400)) == ids(jobs[250:])
