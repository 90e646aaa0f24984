from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from uuid import UUID

import pytest

from spinach.brokers.calls import Deposit, Verdict
from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable, ScheduleUncertain
from spinach_redis import RedisBroker, producer
from spinach_redis import scripts as script
from spinach_redis.client.client import ConnectionPool, RedisClient
from spinach_redis.keys import QueueKeys
from spinach_redis.topology.topology import Node
from spinach_redis.transport.connection import Connection

from .jobs import QUEUE, Member, deposit, success
from .proxy import Loss, Proxy
from .servers import Server, until

NewBroker = Callable[..., RedisBroker]

#: Five chunks, the last one small: more than go out together here.
#: An instant that no test lives to see, in ms since 1970.
FAR_MS = 2**41

MANY = 4 * producer.CHUNK_JOBS + 3


@pytest.fixture(autouse=True)
def four_chunks_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "IN_FLIGHT", 4)


def uuids(deposits: list[Deposit]) -> tuple[UUID, ...]:
    return tuple(UUID(each.stored_id[1:]) for each in deposits)


def ready_ids(server: Server, namespace: str, queue: str = QUEUE) -> list[str]:
    with server.client() as client:
        [key] = QueueKeys(namespace, queue).fixed(("ready",))
        return [each.decode() for each in client.lrange(key, 0, -1)]


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("times", [1, 3])
def test_job_is_stored_once_however_often_the_connection_breaks(
    new_broker: NewBroker, proxy: Proxy, server: Server, namespace: str, loss: Loss, times: int
) -> None:  # I2
    broker = new_broker(proxy.url)
    job = deposit()
    proxy.lose(loss, script.ENQUEUE.sha, times=times)
    assert broker.enqueue([job]) == [True]
    assert proxy.losses_left == 0
    assert ready_ids(server, namespace) == [job.stored_id]
    assert broker.counts([QUEUE])[0].enqueued == 1


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("broken", range(5))
def test_batch_keeps_its_order_when_a_chunk_in_flight_is_lost(
    new_broker: NewBroker, proxy: Proxy, server: Server, namespace: str, loss: Loss, broken: int
) -> None:  # I2
    jobs = [deposit() for _ in range(MANY)]
    proxy.lose(loss, script.ENQUEUE.sha, skip=broken)
    assert new_broker(proxy.url).enqueue(jobs) == [True] * MANY
    assert proxy.losses_left == 0
    assert ready_ids(server, namespace) == [job.stored_id for job in jobs]


def test_batch_over_queues_survives_losses_in_each(
    new_broker: NewBroker, proxy: Proxy, server: Server, namespace: str
) -> None:  # I2
    queues = ["one", "two", "three"]
    jobs = [deposit(queues[i % 3]) for i in range(MANY)]
    proxy.lose(Loss.ANSWER, script.ENQUEUE.sha, skip=1, times=2)
    assert new_broker(proxy.url).enqueue(jobs) == [True] * MANY
    for queue in queues:
        sent = [job.stored_id for job in jobs if job.queue == queue]
        assert ready_ids(server, namespace, queue) == sent


def test_large_jobs_are_split_by_size(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I19
    jobs = [deposit(payload=b"x" * 600_000) for _ in range(3)]
    with server.client() as client:
        before = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        new_broker().enqueue(jobs)
        after = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert after - before >= 3
    assert ready_ids(server, namespace) == [job.stored_id for job in jobs]


def test_answer_tells_ready_jobs_from_waiting_ones_also_when_it_was_lost(
    new_broker: NewBroker, proxy: Proxy
) -> None:
    proxy.lose(Loss.ANSWER, script.ENQUEUE.sha)
    jobs = [deposit(), deposit(due_ms=2**42), deposit(due_ms=1)]
    assert new_broker(proxy.url).enqueue(jobs) == [True, False, True]


def test_numbers_that_the_server_lost_start_again(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    broker = new_broker()
    jobs = [deposit() for _ in range(3)]
    broker.enqueue(jobs[:1])
    with server.client() as client:
        [session] = client.keys(f"{{{namespace}/{QUEUE}}}:producer:*")
        client.delete(session)
        broker.enqueue(jobs[1:2])
        broker.enqueue(jobs[2:])
        assert len(client.keys(f"{{{namespace}/{QUEUE}}}:producer:*")) == 1
    assert ready_ids(server, namespace) == [job.stored_id for job in jobs]


def test_session_that_the_server_may_have_forgotten_is_given_up(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    broker = new_broker()
    broker.enqueue([deposit()])
    [sessions] = broker._process.producer._idle
    sessions[QUEUE].used_at -= producer.SESSION_IDLE_SECONDS + 1
    broker.enqueue([deposit()])
    with server.client() as client:
        sessions = client.keys(f"{{{namespace}/{QUEUE}}}:producer:*")
        assert len(sessions) == 2
        assert all(client.pttl(each) > 9 * 60_000 for each in sessions)


def test_threads_have_connections_and_sessions_of_their_own(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I2
    broker = new_broker()
    jobs = [[deposit() for _ in range(20)] for _ in range(4)]
    start = threading.Barrier(4)

    def produce(mine: list[Deposit]) -> None:
        start.wait(10)
        for job in mine:
            broker.enqueue([job])

    threads = [threading.Thread(target=produce, args=(mine,)) for mine in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ready_ids(server, namespace)) == sorted(
        job.stored_id for mine in jobs for job in mine
    )


def test_server_that_stays_away_leaves_nothing_unknown(new_broker: NewBroker) -> None:
    broker = new_broker("redis://127.0.0.1:1")
    broker._process.client.client_seconds = 0.2
    jobs = [deposit(), deposit()]
    with pytest.raises(BrokerUnavailable) as caught:
        broker.enqueue(jobs)
    assert (caught.value.stored, caught.value.unknown) == ((), ())
    assert caught.value.not_sent == uuids(jobs)


def test_answers_that_stay_away_leave_the_fate_unknown(
    new_broker: NewBroker, proxy: Proxy, server: Server, namespace: str
) -> None:
    broker = new_broker(proxy.url)
    broker._process.client.client_seconds = 0.5
    jobs = [deposit() for _ in range(MANY)]
    proxy.lose(Loss.ANSWER, script.ENQUEUE.sha, skip=4, times=1000)
    with pytest.raises(ScheduleUncertain, match="unknown") as caught:
        broker.enqueue(jobs)
    sent = 4 * producer.CHUNK_JOBS
    assert caught.value.stored == uuids(jobs[:sent])
    assert caught.value.unknown == caught.value.job_ids == uuids(jobs[sent:])
    assert caught.value.not_sent == ()
    # Their number is not used for other jobs, wherever a copy of them may still be.
    proxy.lose(Loss.ANSWER, script.ENQUEUE.sha, times=0)
    late = deposit()
    broker.enqueue([late])
    assert ready_ids(server, namespace) == [job.stored_id for job in [*jobs, late]]


def test_full_server_refuses_cleanly_and_drains(own_server: Server) -> None:  # I1
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("full", object())
    kept = [deposit() for _ in range(3)]
    broker.enqueue(kept)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        before = client.dbsize()
        jobs = [deposit() for _ in range(MANY)]
        with pytest.raises(BrokerFull) as caught:
            broker.enqueue(jobs)
        assert (caught.value.stored, caught.value.unknown) == ((), ())
        assert caught.value.not_sent == uuids(jobs)
        for lone in (deposit(), deposit(due_ms=FAR_MS)):
            with pytest.raises(BrokerFull) as caught:
                broker.enqueue([lone])
            assert caught.value.not_sent == uuids([lone])
        assert client.dbsize() == before
        member = Member(broker)
        leases = member.take(idle=5)
        assert [lease.stored_id for lease in leases] == [job.stored_id for job in kept]
        assert set(broker.report([success(lease) for lease in leases]).verdicts) == {
            Verdict.APPLIED
        }
        assert broker.beat([member.turn()])[0].verdict is Verdict.APPLIED
        assert broker.leave(member.turn()).verdict is Verdict.APPLIED
        client.config_set("maxmemory", 0)
    assert broker.enqueue([deposit()]) == [True]
    broker.close()


def test_part_of_a_batch_that_was_stored_before_the_server_was_full_is_named(
    new_broker: NewBroker, proxy: Proxy, server: Server
) -> None:
    broker = new_broker(proxy.url)
    jobs = [deposit() for _ in range(MANY)]
    round_ = producer._EnqueueCall._round
    with server.client() as client, pytest.MonkeyPatch.context() as patch:

        def fill_up(self: producer._EnqueueCall, *args: object) -> object:
            result = round_(self, *args)
            client.config_set("maxmemory", 1)
            return result

        patch.setattr(producer._EnqueueCall, "_round", fill_up)
        try:
            with pytest.raises(BrokerFull) as caught:
                broker.enqueue(jobs)
        finally:
            client.config_set("maxmemory", 0)
    sent = producer.IN_FLIGHT * producer.CHUNK_JOBS
    assert caught.value.stored == uuids(jobs[:sent])
    assert caught.value.not_sent == uuids(jobs[sent:])


def test_producer_waits_for_a_server_that_is_read_only_for_a_while(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("replica", object())
    broker.enqueue([deposit()])
    stored: list[bool] = []
    with own_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        thread = threading.Thread(target=lambda: stored.extend(broker.enqueue([deposit()])))
        thread.start()
        thread.join(0.2)
        assert stored == []
        client.execute_command("REPLICAOF", "NO", "ONE")
    thread.join(20)
    assert stored == [True]
    broker.close()


def test_queue_of_another_schema_is_left_alone(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    job = deposit()
    with server.client() as client:
        client.set(f"{{{namespace}/{QUEUE}}}:version", "3")
        with pytest.raises(BrokerError, match="storage version 3") as caught:
            new_broker().enqueue([job])
        assert caught.value.not_sent == uuids([job])
        assert client.keys(f"{{{namespace}/{QUEUE}}}:*") == [
            f"{{{namespace}/{QUEUE}}}:version".encode()
        ]


@pytest.mark.parametrize("foreign", ["first", "last"])
def test_batch_that_meets_another_schema_tells_what_was_stored_all_the_same(
    new_broker: NewBroker, server: Server, namespace: str, foreign: str
) -> None:  # I2
    refused, stored = deposit(foreign), deposit()
    with server.client() as client:
        client.set(f"{{{namespace}/{foreign}}}:version", "3")
        broker = new_broker()
        with pytest.raises(BrokerError, match="storage version 3") as caught:
            broker.enqueue([refused, stored] if foreign == "first" else [stored, refused])
    assert caught.value.not_sent == uuids([refused])
    assert caught.value.stored == uuids([stored])
    assert ready_ids(server, namespace) == [stored.stored_id]


def test_connections_of_a_crowd_of_producers_are_given_up_after_it(
    new_broker: NewBroker, own_server: Server
) -> None:
    crowd = producer.MOST_IDLE + 20
    broker = new_broker(own_server.unix_url)
    together = threading.Barrier(crowd)
    give_back, waited = ConnectionPool.give_back, set()

    def give_back_together(self: ConnectionPool, node: Node, connection: Connection) -> None:
        # Once for each: a call may take a connection more than once.
        if threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            together.wait(30)
        give_back(self, node, connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConnectionPool, "give_back", give_back_together)
        threads = [
            threading.Thread(target=broker.enqueue, args=([deposit()],)) for _ in range(crowd)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(waited) == crowd
    with own_server.client() as client:
        until(
            # One is the client that asks.
            lambda: len(client.client_list()) - 1 == producer.MOST_IDLE,
            "all other connections gone",
            10,
        )


def test_queues_are_listed(new_broker: NewBroker, server: Server, namespace: str) -> None:
    broker = new_broker()
    broker.enqueue([deposit("one"), deposit("two")])
    Member(broker, "three")
    with server.client() as client:
        assert set(client.smembers(f"{{{namespace}}}:queues")) == {b"one", b"two", b"three"}


def test_nothing_to_enqueue_needs_no_server(new_broker: NewBroker) -> None:
    assert new_broker("redis://127.0.0.1:1").enqueue([]) == []


def test_job_is_not_sent_again_after_a_sleep_in_which_the_server_may_forget(
    new_broker: NewBroker, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:  # I2, I3
    asleep = [0.0]
    monkeypatch.setattr(producer, "_clocks", lambda: (0.0, asleep[0]))
    broker, job = new_broker(proxy.url), deposit(max_retries=0)

    def sleep(_seconds: float) -> None:
        asleep[0] += producer.SESSION_IDLE_SECONDS + 1

    monkeypatch.setattr(producer, "time", SimpleNamespace(**(vars(time) | {"sleep": sleep})))
    proxy.lose(Loss.ANSWER, script.ENQUEUE.sha)
    with pytest.raises(ScheduleUncertain) as caught:
        broker.enqueue([job])
    assert caught.value.unknown == uuids([job])
    assert broker.counts([QUEUE])[0].enqueued == 1


def test_large_chunks_go_out_a_few_at_a_time(
    new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:  # I19
    monkeypatch.setattr(producer, "IN_FLIGHT", 16)
    sent: list[int] = []
    send = RedisClient.send

    def count(self: RedisClient, requests: list[object], *args: object, **options: object):
        sent.append(len([each for each in requests if hasattr(each, "script")]))
        return send(self, requests, *args, **options)

    monkeypatch.setattr(RedisClient, "send", count)
    jobs = [deposit(payload=b"[%s]" % (b"1" * 500_000)) for _ in range(20)]
    assert new_broker().enqueue(jobs) == [True] * 20
    assert sent == [4, 4, 2]


def test_long_batch_of_small_jobs_goes_out_in_two_parcels(
    new_broker: NewBroker, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "IN_FLIGHT", 16)
    monkeypatch.setattr(producer, "CHUNK_JOBS", 10)
    jobs = [deposit() for _ in range(171)]
    rounds: list[int] = []
    send = producer._EnqueueCall._round

    def count(self: producer._EnqueueCall, window: list[object]) -> object:
        rounds.append(len(window))
        return send(self, window)

    monkeypatch.setattr(producer._EnqueueCall, "_round", count)
    assert new_broker().enqueue(jobs) == [True] * 171
    assert rounds == [16, 2]
    assert ready_ids(server, namespace) == [job.stored_id for job in jobs]
