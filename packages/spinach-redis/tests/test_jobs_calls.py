"""Looking for jobs on a server: many members, many leases, many queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from spinach.brokers.calls import CancelVerdict, Place
from spinach.const import MOST_TOLD
from spinach_redis import RedisBroker, jobs
from spinach_redis.client.client import RedisClient

from .jobs import QUEUE, Member, deposit
from .test_policy import OWN

NewBroker = Callable[..., RedisBroker]

#: So many that one call looks for as few jobs as it ever does.
MEMBERS = jobs._CHUNK_ASKED // jobs._CHUNK_LEAST + 5
#: More than are kept while the first ones are looked for.
LEASES = 2 * OWN["MOST_LOOKED"] + 50


def all_pages(broker: RedisBroker, place: Place) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = broker.list_jobs(QUEUE, places=[place], cursor=cursor)
        found += [job.stored_id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return found


def test_each_of_many_members_is_asked_about_few_jobs_a_call(
    new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker()
    members = [Member(broker) for _ in range(MEMBERS)]
    waiting = [deposit() for _ in range(2 * jobs._CHUNK_LEAST)]
    broker.enqueue([deposit() for _ in range(10)])
    leases = [lease for member in members[-10:] for lease in member.take()]
    broker.enqueue(waiting)
    ids = [lease.stored_id for lease in leases] + [job.stored_id for job in waiting]
    broker.counts([QUEUE])  # from here on the members are known
    rounds = []
    call_all = RedisClient.call_all

    def counted(self: RedisClient, requests: Sequence[Any]) -> list[Any]:
        rounds.append(requests)
        return call_all(self, requests)

    monkeypatch.setattr(RedisClient, "call_all", counted)
    found = broker.find_jobs([QUEUE], ids)
    assert [job.stored_id for job in found] == ids
    assert [job.member for job in found[:10]] == [member.name for member in members[-10:]]
    assert len(rounds) == 3
    assert sorted(all_pages(broker, Place.READY)) == sorted(ids[10:])
    verdicts = [reply.verdict for reply in broker.cancel_jobs(QUEUE, ids)]
    assert verdicts == [CancelVerdict.REQUESTED] * 10 + [CancelVerdict.CANCELLED] * len(waiting)


def test_many_leases_are_listed_as_they_were_given(new_broker: NewBroker) -> None:
    broker = new_broker()
    members = [Member(broker) for _ in range(3)]
    broker.enqueue([deposit() for _ in range(LEASES)])
    order: list[str] = []
    while len(order) < LEASES:
        member = members[len(order) % 3]
        order += [lease.stored_id for lease in member.take(idle=101)]
    assert all_pages(broker, Place.LEASED) == order


def test_of_many_leases_those_of_threads_are_told_and_the_oldest(new_broker: NewBroker) -> None:
    broker = new_broker()
    member = Member(broker)
    broker.enqueue([deposit() for _ in range(3 * MOST_TOLD)])
    buffered: list[str] = []
    while len(buffered) < 2 * MOST_TOLD + 50:
        reply = member.fetch(idle=0, extra=2 * MOST_TOLD + 50 - len(buffered))
        buffered += [lease.stored_id for lease in reply.leases]
    direct = [lease.stored_id for lease in member.take(idle=5)]
    [state] = broker.members(QUEUE).members
    assert state.lease_count == len(buffered) + 5
    told = [lease.stored_id for lease in state.leases]
    assert told == [*direct, *buffered[: MOST_TOLD - 5]]
    assert [lease.direct for lease in state.leases] == [True] * 5 + [False] * (MOST_TOLD - 5)


def test_queues_are_looked_into_together(
    new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker()
    queues = [f"letters-{n}" for n in range(20)]
    job = deposit(queues[7])
    broker.enqueue([job])
    # All of them have members, of which this process does not know yet.
    for queue in queues:
        Member(new_broker(), queue)
    sent: list[int] = []
    send = RedisClient.send

    def counted(self: RedisClient, requests: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        sent.append(len(requests))
        return send(self, requests, *args, **kwargs)

    monkeypatch.setattr(RedisClient, "send", counted)
    [found] = broker.find_jobs([*queues, "nowhere"], [job.stored_id])
    assert (found.queue, found.stored_id) == (job.queue, job.stored_id)
    assert sent == [21, 20]
