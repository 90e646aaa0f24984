"""Found: what is told of a job beside its place, and that a page tells the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import FoundJob, Place
from spinach.const import MOST_COUNTED
from spinach.exc import InvalidArgument

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import TOLERANCE_MS
from ..process import FAILURE
from .jobs import HOUR, NEW, SLOW, find

if TYPE_CHECKING:
    from spinach.record.ids import StoredId

    from ..lab import Lab

EVERYWHERE = frozenset(Place)


def one_in_each_place(lab: Lab) -> dict[StoredId, FoundJob]:
    """What is found of a queue with a job in each place, by stored id."""
    process = lab.process(limits={SLOW: 1})
    first, held = deposit(SLOW), deposit(SLOW)
    parked, failed, again, buffered = deposit(NEW), once(), deposit(), deposit()
    lab.enqueue(first, held, parked, failed, again)
    leases = {lease.stored_id: lease for lease in process.take(idle=5)}
    process.park(leases[parked.stored_id])
    process.fail(leases[failed.stored_id])
    process.retry(leases[again.stored_id], delay=HOUR)
    lab.enqueue(buffered)
    process.take(idle=0, extra=1)
    lab.client.cancel_jobs(QUEUE, [first.stored_id])
    ready, later = deposit(), deposit(due_ms=lab.in_ms(2 * HOUR))
    lab.enqueue(ready, later)
    jobs = [first, held, parked, failed, again, buffered, ready, later]
    found = {job.stored_id: find(lab, job) for job in jobs}
    assert {each.place for each in found.values()} == EVERYWHERE
    return found


def refused(lab: Lab, cursor: str) -> bool:
    """Whether the broker refuses to go on there."""
    try:
        lab.client.list_jobs(QUEUE, cursor=cursor, limit=1)
    except InvalidArgument:
        return True
    return False


class FoundBehaviour(BrokerBehaviour):
    """The fields of a `FoundJob`, whether it was looked for or listed."""

    @holds("I1", "I18")
    def test_page_tells_of_a_job_what_is_told_when_it_is_looked_for(self, lab: Lab) -> None:
        found = one_in_each_place(lab)
        listed = lab.client.list_jobs(QUEUE, limit=100).jobs
        assert sorted(ids(listed)) == sorted(found)
        for each in listed:
            # A page counts nobody.
            assert each.ahead is None, f"{each.stored_id} in {each.place}"
            told = structs.replace(found[each.stored_id], ahead=None)
            assert structs.replace(each, ahead_exact=told.ahead_exact) == told

    @holds("I1")
    def test_only_a_job_that_stands_in_a_line_has_others_before_it(self, lab: Lab) -> None:
        for found in one_in_each_place(lab).values():
            if found.place in (Place.LEASED, Place.FAILED):
                assert found.ahead is None
            else:
                assert found.ahead is not None
                assert found.ahead_exact

    @holds("I1")
    def test_job_of_the_future_tells_how_many_come_before_it(self, lab: Lab) -> None:
        jobs = [deposit(due_ms=lab.in_ms(n * HOUR)) for n in (3, 1, 2)]
        lab.enqueue(*jobs)
        process = lab.process()
        lab.enqueue(again := deposit())
        process.retry(process.take_one(), delay=2.5 * HOUR)
        assert [find(lab, job).ahead for job in (*jobs, again)] == [3, 0, 1, 2]

    @holds("I1", "I19")
    def test_place_far_behind_in_a_line_is_told_as_the_least_it_can_be(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(MOST_COUNTED + 50)]
        lab.enqueue(*jobs)
        near, far = find(lab, jobs[5]), find(lab, jobs[-1])
        assert (near.ahead, near.ahead_exact) == (5, True)
        assert far.ahead is not None
        assert not far.ahead_exact
        assert 0 < far.ahead <= len(jobs) - 1

    @holds("I7", "I11")
    def test_lost_job_tells_its_losses_and_attempts(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        job = deposit()
        lab.enqueue(job)
        doomed.take_one()
        lab.bury(doomed, survivor)
        found = find(lab, job)
        assert (found.place, found.losses, found.retries) == (Place.FUTURE, 1, 1)
        lab.live_until_due(survivor)
        survivor.fail(survivor.take_one())
        found = find(lab, job)
        assert (found.place, found.losses, found.retries) == (Place.FAILED, 1, 1)

    @holds("I1")
    def test_failed_job_tells_since_when_and_why(self, lab: Lab) -> None:
        process, job = lab.process(), deposit()
        lab.enqueue(job)
        lease = process.take_one()
        assert (find(lab, job).failed_ms, find(lab, job).failure) == (None, None)
        before_ms = lab.now_ms()
        process.fail(lease)
        lab.advance(HOUR)
        found = find(lab, job)
        assert found.failure == FAILURE
        assert found.failed_ms is not None
        assert before_ms <= found.failed_ms <= before_ms + TOLERANCE_MS
        [entry] = lab.client.failed_jobs(QUEUE)
        assert found.failed_ms == entry.failed_at_ms

    @holds("I1")
    def test_cursor_that_no_broker_made_is_refused(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        made = lab.client.list_jobs(QUEUE, limit=1).cursor
        assert made is not None
        cursors = (
            *("", "x", "1-", "-1-2", "[]", "{}", "\ud800", '["scan"]', '["scan","x"]'),
            *('["leased","x"]', '["sorted","x","y"]', '["sorted","1"]', '["nowhere","1"]'),
            made[:-1] if made.endswith("]") else "-" + made,
        )
        taken = [cursor for cursor in cursors if not refused(lab, cursor)]
        assert taken == []
