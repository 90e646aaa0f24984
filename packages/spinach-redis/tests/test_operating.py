"""What operators see and steer, where it is about the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from spinach.brokers.calls import Verdict
from spinach.const import PURGE_CHUNK
from spinach.exc import BrokerError, BrokerUnavailable
from spinach_redis import RedisBroker, keys
from spinach_redis import scripts as script

from .jobs import QUEUE, TASK, Member, deposit, success
from .proxy import Loss, Proxy
from .servers import Server

NewBroker = Callable[..., RedisBroker]


def tag(namespace: str) -> str:
    return f"{{{namespace}/{QUEUE}}}:"


def test_a_purge_whose_answer_was_lost_is_not_made_again(
    new_broker: NewBroker, proxy: Proxy
) -> None:
    broker = new_broker(proxy.url)
    broker.enqueue([deposit() for _ in range(10)])
    proxy.lose(Loss.ANSWER, script.PURGE.sha)
    with pytest.raises(BrokerError, match="Whether the call was carried out is unknown"):
        broker.purge(QUEUE, "queued", 3)
    assert broker.counts([QUEUE])[0].ready == 7


def test_a_cancel_whose_answer_was_lost_is_not_made_again(
    new_broker: NewBroker, proxy: Proxy
) -> None:
    broker = new_broker(proxy.url)
    first, second = deposit(), deposit()
    broker.enqueue([first, second])
    proxy.lose(Loss.ANSWER, script.CANCEL.sha)
    # A second one would say that it knows nothing of the job which the first one cancelled.
    with pytest.raises(BrokerError, match="Whether the call was carried out is unknown"):
        broker.cancel_jobs(QUEUE, [first.stored_id])
    assert [job.stored_id for job in broker.list_jobs(QUEUE).jobs] == [second.stored_id]


@pytest.mark.parametrize(
    ("call", "sha"),
    [
        (lambda broker: broker.set_paused(QUEUE, paused=True), script.PAUSE.sha),
        (lambda broker: broker.set_limit(QUEUE, TASK, 2), script.LIMIT.sha),
        (lambda broker: broker.set_periodic_paused(QUEUE, TASK, paused=True), script.SUSPEND.sha),
        (lambda broker: broker.survey(QUEUE), script.SURVEY.sha),
        (lambda broker: broker.members(QUEUE), script.WORKERS.sha),
    ],
    ids=["pause", "limit", "suspend", "survey", "workers"],
)
def test_what_may_be_made_twice_is_made_again(
    new_broker: NewBroker, proxy: Proxy, call: Callable[[RedisBroker], object], sha: bytes
) -> None:
    Member(new_broker(), periodic={TASK: 60_000})
    broker = new_broker(proxy.url)
    proxy.lose(Loss.ANSWER, sha)
    call(broker)
    assert proxy.losses_left == 0


def test_a_full_server_admits_what_steers_a_queue(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("full", object())
    member = Member(broker, periodic={TASK: 60_000})
    broker.enqueue([deposit() for _ in range(10)])
    leases = member.take(idle=2)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            assert broker.set_paused(QUEUE, paused=True)
            assert broker.set_periodic_paused(QUEUE, TASK, paused=True)
            broker.set_limit(QUEUE, TASK, 1)
            assert broker.purge(QUEUE, "queued", 5).removed == 5
            assert broker.survey(QUEUE).paused
            assert [each.taken for each in broker.limits(QUEUE)] == [2]
            assert broker.set_paused(QUEUE, paused=False)
            assert broker.set_periodic_paused(QUEUE, TASK, paused=False)
            # What drains it goes on.
            broker.report([success(lease) for lease in leases])
        finally:
            client.config_set("maxmemory", 0)
    assert broker.counts([QUEUE])[0].unfinished == 3
    broker.close()


def test_more_members_than_one_call_tells_of(new_broker: NewBroker) -> None:
    broker = new_broker()
    members = [Member(broker, info={"pid": str(number)}) for number in range(120)]
    found = broker.members(QUEUE).members
    assert sorted(each.member for each in found) == sorted(each.name for each in members)
    assert sorted(int(each.info["pid"]) for each in found) == [*range(120)]


def test_members_that_leave_between_two_calls_are_left_out(
    new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker()
    members = [Member(broker) for _ in range(60)]
    client = broker._process.client
    call, calls = client.call, []

    def leaving(request: Any, *, repeatable: bool) -> Any:
        calls.append(request)
        if len(calls) == 2:
            for member in members[::2]:
                assert broker.leave(member.turn()).verdict is Verdict.APPLIED
        return call(request, repeatable=repeatable)

    monkeypatch.setattr(client, "call", leaving)
    found = {each.member for each in broker.members(QUEUE).members}
    assert found == {each.name for each in members[1::2]}


def test_a_limit_that_cannot_be_counted_says_why(
    new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker()
    client = broker._process.client
    monkeypatch.setattr(client, "call", lambda request, *, repeatable: [b"KEYS", [b"another"]])
    with pytest.raises(BrokerUnavailable, match="change faster than they can be read"):
        broker.set_limit(QUEUE, TASK, 1)


def test_ids_without_a_record_are_passed_over(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    broker = new_broker()
    jobs = [deposit() for _ in range(20)]
    broker.enqueue(jobs)
    with server.client() as client:
        client.hdel(f"{tag(namespace)}jobs", *(job.stored_id for job in jobs[:15]))
    assert broker.survey(QUEUE).first_ready == jobs[15].record
    # They are no jobs, so they are not counted.
    assert broker.purge(QUEUE, "queued", PURGE_CHUNK).removed == 5
    assert broker.counts([QUEUE])[0].ready == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda broker: broker.survey(QUEUE),
        lambda broker: broker.set_paused(QUEUE, paused=True),
        lambda broker: broker.purge(QUEUE, "queued", 1),
        lambda broker: broker.members(QUEUE),
        lambda broker: broker.set_limit(QUEUE, TASK, 1),
        lambda broker: broker.limits(QUEUE),
        lambda broker: broker.periodic_tasks(QUEUE),
        lambda broker: broker.set_periodic_paused(QUEUE, TASK, paused=True),
        lambda broker: broker.find_jobs([QUEUE], ["1x"]),
        lambda broker: broker.list_jobs(QUEUE),
        lambda broker: broker.cancel_jobs(QUEUE, ["1x"]),
    ],
)
def test_a_queue_of_another_schema_is_left_alone(
    new_broker: NewBroker, server: Server, namespace: str, call: Callable[[RedisBroker], object]
) -> None:
    newer = str(int(keys.SCHEMA) + 1)
    with server.client() as client:
        client.set(f"{tag(namespace)}version", newer)
        with pytest.raises(BrokerError, match=f"has storage version {newer}"):
            call(new_broker())
        assert [key.decode() for key in client.keys(f"{tag(namespace)}*")] == [
            f"{tag(namespace)}version"
        ]


@pytest.mark.concurrency
def test_a_large_purge_lets_others_in(new_broker: NewBroker) -> None:
    broker, other = new_broker(), new_broker()
    for _ in range(10):
        broker.enqueue([deposit() for _ in range(PURGE_CHUNK)])
    removed: list[int] = []
    answered = threading.Event()

    def purge() -> None:
        more = True
        while more:
            reply = broker.purge(QUEUE, "queued", PURGE_CHUNK)
            removed.append(reply.removed)
            more = reply.more
            assert answered.wait(20)

    thread = threading.Thread(target=purge)
    thread.start()
    left = other.counts([QUEUE])[0].ready
    answered.set()
    thread.join(20)
    assert left >= 9 * PURGE_CHUNK
    assert removed == [PURGE_CHUNK] * 10
