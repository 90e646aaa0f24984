"""What cancelled jobs leave behind in a line: each call passes over a bounded number of it."""

from __future__ import annotations

from collections.abc import Callable

from spinach.brokers.calls import Deposit, Verdict
from spinach.outcome import Outcome, OutcomeKind
from spinach_redis import RedisBroker

from .jobs import QUEUE, TASK, Member, deposit, success
from .servers import Server
from .test_policy import OWN

NewBroker = Callable[..., RedisBroker]

MOST_GAPS, MOST_HOLES = OWN["MOST_GAPS"], OWN["MOST_HOLES"]
#: More than the jobs that a call looks at anyway.
SLACK = 100


def cancel(broker: RedisBroker, jobs: list[Deposit]) -> None:
    """The last one first: the first of the line is left to whoever takes what is before it."""
    ids = [job.stored_id for job in reversed(jobs)]
    assert all(reply.record for reply in broker.cancel_jobs(QUEUE, ids))


def length(server: Server, namespace: str) -> int:
    with server.client() as client:
        return int(client.llen(f"{{{namespace}/{QUEUE}}}:ready"))


def test_fetch_passes_over_a_bounded_number_of_cancelled_jobs(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I22
    broker = new_broker()
    member = Member(broker)
    jobs = [deposit() for _ in range(3 * MOST_GAPS)]
    broker.enqueue(jobs)
    cancel(broker, jobs[1:-1])
    before, taken = length(server, namespace), []
    while not taken or taken[-1].stored_id != jobs[-1].stored_id:
        reply = member.fetch(idle=20)
        taken += reply.leases
        left = length(server, namespace)
        assert before - left <= MOST_GAPS + SLACK
        # The next fetch is told to come at once.
        assert reply.more == (left > 0)
        before = left
    assert [lease.stored_id for lease in taken] == [jobs[0].stored_id, jobs[-1].stored_id]


def test_fetch_passes_over_a_bounded_number_between_jobs_that_are_few(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I22
    broker = new_broker()
    member = Member(broker)
    jobs = [deposit() for _ in range(4 * MOST_GAPS)]
    broker.enqueue(jobs)
    cancel(broker, [job for n, job in enumerate(jobs) if n % 50])
    before, taken = length(server, namespace), []
    while before > 0:
        taken += member.fetch(idle=200).leases
        left = length(server, namespace)
        assert before - left <= MOST_GAPS + SLACK
        before = left
    assert [lease.stored_id for lease in taken] == [job.stored_id for job in jobs[::50]]


def test_purge_stops_where_a_call_has_passed_over_enough(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I19
    broker = new_broker()
    jobs = [deposit() for _ in range(3 * MOST_GAPS)]
    broker.enqueue(jobs)
    cancel(broker, jobs[1:])
    before, removed, more = length(server, namespace), 0, True
    while more:
        reply = broker.purge(QUEUE, "queued", 10**6)
        removed, more = removed + reply.removed, reply.more
        left = length(server, namespace)
        assert before - left <= 2 * MOST_GAPS
        before = left
    assert removed == 1


def test_held_job_behind_many_cancelled_ones_gets_the_slot(new_broker: NewBroker) -> None:  # I10
    broker = new_broker()
    member = Member(broker, limits={TASK: 1})
    jobs = [deposit() for _ in range(3 * MOST_HOLES)]
    broker.enqueue(jobs)
    [running] = member.take(idle=1)
    while broker.counts([QUEUE])[0].ready > 0:
        assert member.take(idle=1) == []
    cancel(broker, jobs[1:-1])
    assert broker.report([success(running)]).verdicts == (Verdict.APPLIED,)
    for _ in range(10):
        reply = member.fetch(idle=1)
        if reply.leases:
            break
        # Nobody else would come for it.
        assert reply.more
    assert [lease.stored_id for lease in reply.leases] == [jobs[-1].stored_id]


def test_parked_job_behind_many_cancelled_ones_is_taken(new_broker: NewBroker) -> None:  # I13
    broker = new_broker()
    member = Member(broker)
    jobs = [deposit() for _ in range(3 * MOST_HOLES)]
    broker.enqueue(jobs)
    parked = 0
    while leases := member.take(idle=1000):
        parked += len(leases)
        broker.report([Outcome(OutcomeKind.PARK, lease, TASK) for lease in leases])
    assert parked == len(jobs)
    cancel(broker, jobs[:-1])
    for _ in range(10):
        reply = member.fetch(idle=5, parks=[TASK])
        if reply.leases:
            break
        assert reply.more
    assert [lease.stored_id for lease in reply.leases] == [jobs[-1].stored_id]
    assert broker.counts([QUEUE])[0].parked == 0
