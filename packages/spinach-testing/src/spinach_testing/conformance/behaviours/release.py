"""Release: what did not run goes back to the front, in order, at no cost."""

from __future__ import annotations

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids, once
from ..invariants import holds
from ..lab import Lab


class ReleaseBehaviour(BrokerBehaviour):
    """The outcome RELEASE."""

    @holds("I9", "I20")
    def test_releases_of_one_call_return_to_the_front_in_order(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(6)]
        lab.enqueue(*jobs)
        process, other = lab.process(), lab.process()
        process.release(*process.take(idle=1, extra=3))
        assert ids(other.take(idle=6)) == ids(jobs)

    @holds("I9", "I20")
    def test_order_of_a_release_is_that_of_the_call(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(4)]
        lab.enqueue(*jobs)
        process = lab.process()
        a, b, c = process.take(idle=3)
        process.release(c, a, b)
        expected = [jobs[2], jobs[0], jobs[1], jobs[3]]
        assert ids(process.take(idle=4)) == ids(expected)

    @holds("I7", "I20")
    def test_release_spends_no_attempt(self, lab: Lab) -> None:
        lab.enqueue(deposit(max_retries=1))
        process = lab.process()
        for _ in range(5):
            lease = process.take_one()
            assert (lease.retries, lease.losses) == (0, 0)
            process.release(lease)

    @holds("I7", "I20")
    def test_release_keeps_the_attempts_that_were_spent(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.retry(process.take_one())
        lab.promote()
        process.release(process.take_one())
        assert process.take_one().retries == 1

    @holds("I3", "I20")
    def test_at_most_once_job_that_did_not_start_may_be_given_back(self, lab: Lab) -> None:
        job = once()
        lab.enqueue(job)
        process, other = lab.process(), lab.process()
        process.release(process.take_one())
        assert other.take_one().stored_id == job.stored_id

    @holds("I9", "I20")
    def test_released_kinds_stay_mixed(self, lab: Lab) -> None:
        jobs = [once(), deposit(), once(), deposit()]
        lab.enqueue(*jobs)
        process = lab.process()
        process.release(*process.take(idle=3))
        assert ids(process.take(idle=4)) == ids(jobs)

    @holds("I9", "I20")
    def test_other_outcomes_of_the_call_do_not_disturb_the_order(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process()
        a, b, c, d = process.take(idle=4)
        process.succeed(b)
        process.release(a, c, d)
        assert ids(process.take(idle=5)) == ids([jobs[0], *jobs[2:]])

    @holds("I1")
    def test_released_job_is_ready_and_nowhere_else(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.release(process.take_one())
        counts = lab.counts()
        assert (counts.ready, counts.leased, counts.retrying, counts.future) == (1, 0, 0, 0)
