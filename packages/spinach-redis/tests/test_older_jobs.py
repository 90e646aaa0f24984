"""Workers say what the older spinach left where they work, once, and look at few keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from spinach import Engine
from spinach.const import DEFAULT_QUEUE
from spinach_redis import RedisBroker
from spinach_redis.migrate import migrate
from spinach_redis.server.permissions import acl_line

from .clusters import Cluster
from .original import NAMESPACE, WORKER, restore
from .servers import Server

NewEngine = Callable[..., Engine]


@pytest.fixture
def client(module_server: Server) -> Iterator[Redis]:
    with module_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def new_engine(module_server: Server) -> Iterator[NewEngine]:
    brokers: list[RedisBroker] = []

    def make(broker: RedisBroker | None = None) -> Engine:
        broker = broker or RedisBroker.from_url(module_server.unix_url)
        brokers.append(broker)
        engine = Engine(broker, NAMESPACE)
        engine.task(name="once")(lambda *_: None)
        return engine

    yield make
    for broker in brokers:
        broker.close()


def work(engine: Engine, *queues: str) -> None:
    engine.start_workers(1, queues or DEFAULT_QUEUE, stop_when_queue_empty=True)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_start_names_keys_and_numbers_of_what_was_left_and_the_way_out(
    client: Redis, new_engine: NewEngine, caplog: pytest.LogCaptureFixture
) -> None:
    restore(client)
    work(new_engine())
    [told] = warnings(caplog)
    assert "The older spinach (0.0.25 and before) uses namespace shop" in told
    for found in (
        "queued jobs: 7 in shop/spinach;",
        "jobs for the future or to be retried: 3 in shop/_future-jobs;",
        f"jobs that run or were lost: 3 in shop/_running-jobs-on-broker-{WORKER};",
        "live: 1 in shop/_periodic_tasks_hash.",
        "python -m spinach_redis.migrate URL --namespace shop",
    ):
        assert found in told, found
    assert "a worker that lives" not in told


def test_worker_that_still_lives_is_named(
    client: Redis, new_engine: NewEngine, caplog: pytest.LogCaptureFixture
) -> None:
    restore(client, silent_seconds=60)
    for key in client.scan_iter("shop/[^_]*"):
        client.delete(key)
    work(new_engine())
    [told] = warnings(caplog)
    assert f"a worker that lives, on vm ({WORKER}), last seen 6" in told


def test_each_queue_is_told_of_once_in_the_life_of_a_broker(
    client: Redis, new_engine: NewEngine, caplog: pytest.LogCaptureFixture
) -> None:
    restore(client)
    engine = new_engine()
    work(engine, "spinach", "docs/eu", "nothing/here")
    first, second = warnings(caplog)
    assert "shop/spinach" in first
    assert "Found: queued jobs: 1 in shop/docs/eu. Stop" in second
    caplog.clear()
    work(engine, "docs/eu", "spinach")
    assert warnings(caplog) == []


def test_nothing_is_said_where_nothing_was_left(
    client: Redis, new_engine: NewEngine, caplog: pytest.LogCaptureFixture
) -> None:
    work(new_engine())
    restore(client)
    client.delete("shop/spinach")
    migrate(client, NAMESPACE, tasks={"send mail": "send_mail"})
    # Of another application.
    client.rpush("shop2/spinach", "{}")
    client.set("shop/string", "no list")
    work(new_engine(), "spinach", "string")
    assert warnings(caplog) == []


def test_producers_do_not_look_and_workers_look_at_names_they_know(
    client: Redis, new_engine: NewEngine
) -> None:
    restore(client)
    engine = new_engine()
    client.config_resetstat()
    engine.schedule("once")
    calls = client.info("commandstats")
    assert not calls.keys() & {"cmdstat_zcard", "cmdstat_hgetall", "cmdstat_hlen"}
    work(engine)
    work(engine)
    calls = client.info("commandstats")
    assert not calls.keys() & {"cmdstat_keys", "cmdstat_scan"}


def test_user_who_may_not_look_works_all_the_same(
    client: Redis,
    new_engine: NewEngine,
    module_server: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    restore(client)
    rule = acl_line("worker", NAMESPACE).replace(" ~shop/*", "")
    client.execute_command("ACL", "SETUSER", *rule.split(), "nopass")
    port = module_server.port
    engine = new_engine(RedisBroker.from_url(f"redis://worker:any@127.0.0.1:{port}"))
    engine.schedule("once")
    work(engine)
    assert warnings(caplog) == []
    with_the_keys = acl_line("worker", NAMESPACE)
    client.execute_command("ACL", "SETUSER", *with_the_keys.split(), "nopass")
    work(new_engine(RedisBroker.from_url(f"redis://worker:any@127.0.0.1:{port}")))
    assert "shop/_future-jobs" in caplog.text


def test_cluster_is_not_asked(
    cluster: Cluster, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The older spinach did not work on one, where this is somebody else's key."""
    with cluster.client() as client:
        client.rpush(f"{namespace}/a", "{}")
        broker = RedisBroker(client)
        work(Engine(broker, namespace), "a")
        broker.close()
    assert warnings(caplog) == []


def test_a_worker_whose_entry_is_damaged_may_live(
    client: Redis, new_engine: NewEngine, caplog: pytest.LogCaptureFixture
) -> None:
    client.hset("shop/_all_brokers_hash", mapping={"a": "no JSON", "b": "[]", "c": "{}"})
    client.zadd("shop/_future-jobs", {"{}": 1})
    work(new_engine())
    [told] = warnings(caplog)
    for each in "abc":
        assert f"a worker that lives, on an unknown host ({each})" in told
