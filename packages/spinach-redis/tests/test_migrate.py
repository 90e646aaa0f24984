"""What the older spinach left is moved, each job once, and what stays is told."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster

from spinach import Engine, Tasks
from spinach.exc import BrokerError, BrokerFull, InvalidArgument, InvalidName, WorkersRunning
from spinach_redis import RedisBroker
from spinach_redis.migrate import Left, main, migrate
from spinach_redis.migrate.moving import _ADOPT, _ADOPT_KEYS, _INHERIT, _INHERIT_KEYS
from spinach_redis.migrate.older import OldKeys

from .clusters import Cluster
from .original import NAMESPACE, WORKER, everything, old_job, restore
from .servers import Server

RENAMED = {"send mail": "send_mail"}
QUEUES = ("spinach", "docs/eu", "soon", "flaky", "hanging", "reports")
FAR = datetime(2100, 1, 2, 3, 4, 5, 679000, tzinfo=UTC)
NAN_LEFT = "JSON has no such number"


@pytest.fixture
def client(module_server: Server) -> Iterator[Redis]:
    """Of a server with nothing but what the older spinach left."""
    with module_server.client() as client:
        client.flushall()
        restore(client)
        yield client


class App:
    """The application after the change, which notes what its tasks were called with."""

    def __init__(self, server: Server, namespace: str = NAMESPACE) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        tasks = Tasks()
        for name, options in {
            "mail.send": {"max_retries": 3},
            "once": {},
            "send_mail": {},
            "count": {},
            "docs/print@home": {"queue": "docs/eu", "max_retries": 1},
            "soon": {"queue": "soon"},
            "flaky": {"queue": "flaky", "max_retries": 5},
            "hang": {"queue": "hanging", "max_retries": 3},
            "hang.once": {"queue": "hanging"},
            "limited": {"max_retries": 2, "max_concurrency": 2},
        }.items():
            tasks.add(self._noting(name), name, **options)
        tasks.add(lambda: None, "report", queue="reports", periodicity=timedelta(hours=1))
        self.broker = RedisBroker.from_url(server.unix_url)
        self.engine = Engine(self.broker, namespace)
        self.engine.attach_tasks(tasks)

    def _noting(self, name: str) -> Any:
        def note(*args: Any, **kwargs: Any) -> None:
            self.calls.append((name, args, kwargs))

        return note

    def run(self, *queues: str) -> Counter[str]:
        """Do all that is ready; how often each task ran."""
        self.engine.start_workers(2, queues or QUEUES, stop_when_queue_empty=True)
        return Counter(name for name, *_ in self.calls)


def test_captured_jobs_run_as_they_would_have(client: Redis, module_server: Server) -> None:
    done = migrate(client, NAMESPACE, tasks=RENAMED)
    assert done.queued == {
        "docs/print@home": 1, "limited": 1, "mail.send": 2, "once": 2, "send_mail": 1, "soon": 1,
    }  # fmt: skip
    assert done.future == {"flaky": 1, "mail.send": 1, "once": 1}
    assert (done.recovered, done.failed) == ({"hang": 2}, {"hang.once": 1})
    assert (done.periodic, done.moved) == (("report",), 14)
    app = App(module_server)
    # A retry waits for the year 2100, and a queue with one is not empty.
    assert app.run("spinach", "docs/eu", "soon", "hanging") == {**done.queued, "hang": 2}
    data = {"data": {"x": [1.5, None, True, "é漢🥬"], "empty": []}, "to": "a@b"}
    sent = [call for call in app.calls if call[0] == "mail.send"]
    assert sent == [("mail.send", (0,), data), ("mail.send", (1,), data)]
    # Lua had made an empty dict of the arguments of one of them.
    assert sorted(args for name, args, _ in app.calls if name == "hang") == [(), ("é",)]
    app.broker.close()


def test_jobs_keep_id_instant_and_spent_retries(client: Redis, module_server: Server) -> None:
    migrate(client, NAMESPACE)
    app = App(module_server)
    [waiting] = app.broker.counts(["flaky"])
    assert (waiting.retrying, waiting.future) == (1, 0)
    assert client.hgetall("{shop/flaky}:attempts") == {
        b"1002c445b-6cce-49e6-ac19-fa236cba232c": b"1,0,0"
    }
    [(stored_id, due)] = client.zrange("{shop/flaky}:future", 0, -1, withscores=True)
    assert (stored_id, int(due)) == (
        b"1002c445b-6cce-49e6-ac19-fa236cba232c",
        int(FAR.timestamp() * 1000),
    )
    assert app.broker.counts(["spinach"])[0].future == 2
    # Of those whose worker died, what runs again has spent one.
    attempts = client.hgetall("{shop/hanging}:attempts")
    assert attempts[b"1de09ae58-bb54-4e2c-8b50-c82950227043"] == b"1,1,0"
    app.broker.close()


def test_job_that_runs_at_most_once_and_lost_its_worker_is_in_the_failed_store(
    client: Redis, module_server: Server
) -> None:
    migrate(client, NAMESPACE)
    app = App(module_server)
    assert app.run("hanging") == {"hang": 2}
    [failed] = app.engine.failed.list("hanging")
    assert failed.job.id == uuid.UUID("118ca55e-d82b-47ef-be0d-bf5bf3d99be7")
    assert failed.error == "spinach.exc.WorkerLost"
    assert "older spinach on vm died" in failed.message
    assert app.engine.failed.retry(failed.job) == 1
    assert app.run("hanging") == {"hang": 2, "hang.once": 1}
    app.broker.close()


def test_last_attempt_that_lost_its_worker_is_in_the_failed_store(client: Redis) -> None:
    client.flushall()
    place = f"{NAMESPACE}/_running-jobs-on-broker-{uuid.uuid4()}"
    client.hset(place, "x", old_job(1, max_retries=2, retries=2))
    client.hset(place, "y", old_job(3, max_retries=2, retries=1))
    done = migrate(client, NAMESPACE)
    assert (done.failed, done.recovered) == ({"count": 1}, {"count": 1})
    assert not client.exists(place)


def test_periodic_task_keeps_its_instant_and_is_fired_by_one_side(
    client: Redis, module_server: Server
) -> None:
    migrate(client, NAMESPACE)
    assert client.zrange("{shop/reports}:periodic", 0, -1, withscores=True) == [
        (b"report", 1_796_054_017_000.0)
    ]
    app = App(module_server)
    offset_ms = 1_796_054_000_000 - int(time.time() * 1000)
    app.broker._offset_ms = lambda: offset_ms
    app.run("reports")
    assert client.zscore("{shop/reports}:periodic", "report") == 1_796_054_017_000.0
    assert not client.keys("shop/_periodic*")
    app.broker.close()


def test_periodic_task_that_workers_know_already_keeps_the_instant_they_gave_it(
    client: Redis, module_server: Server
) -> None:
    app = App(module_server)
    app.run("reports")
    before = client.zscore("{shop/reports}:periodic", "report")
    assert migrate(client, NAMESPACE).periodic == ("report",)
    assert client.zscore("{shop/reports}:periodic", "report") == before
    app.broker.close()


def test_nothing_of_it_is_left_but_what_is_told(client: Redis) -> None:
    done = migrate(client, NAMESPACE, tasks=RENAMED)
    [left] = done.left
    assert (left.task, left.place, left.count) == ("once", "shop/spinach", 1)
    assert NAN_LEFT in left.reason
    assert client.keys("shop/*") == [b"shop/spinach"]
    assert client.llen("shop/spinach") == 1


def test_names_that_are_not_allowed_stay_until_they_are_told_another_one(client: Redis) -> None:
    stays, _ = sorted(migrate(client, NAMESPACE).left, key=lambda each: each.task, reverse=True)
    assert (stays.task, stays.count) == ("send mail", 1)
    assert "Replace the others, as in 'send_mail'" in stays.reason
    assert "--task or --queue OLD=NEW" in stays.reason
    assert migrate(client, NAMESPACE, tasks=RENAMED).queued == {"send_mail": 1}


def test_queues_may_have_other_names_and_the_engine_another_namespace(
    client: Redis, module_server: Server
) -> None:
    migrate(client, NAMESPACE, into="market", queues={"spinach": "default"}, tasks=RENAMED)
    assert client.smembers("{market}:queues") >= {b"default", b"docs/eu"}
    app = App(module_server, "market")
    assert app.run("default")["mail.send"] == 2
    assert not client.keys("{shop*")
    app.broker.close()


def test_second_run_finds_nothing(client: Redis) -> None:
    migrate(client, NAMESPACE, tasks=RENAMED)
    before = everything(client)
    assert migrate(client, NAMESPACE, tasks=RENAMED).moved == 0
    assert everything(client) == before


def test_dry_run_tells_the_same_and_changes_nothing(client: Redis) -> None:
    before = everything(client)
    told = migrate(client, NAMESPACE, dry_run=True)
    assert everything(client) == before
    done = migrate(client, NAMESPACE)
    for name in ("queued", "future", "recovered", "failed", "periodic", "left"):
        assert getattr(told, name) == getattr(done, name), name
    assert str(told).startswith("Jobs that would be moved: 13\n")


def test_live_workers_are_named_and_nothing_is_moved(client: Redis) -> None:
    client.flushall()
    restore(client, silent_seconds=100)
    before = everything(client)
    with pytest.raises(WorkersRunning, match=rf"vm \({WORKER}\), last seen 10\d s ago\. Stop them"):
        migrate(client, NAMESPACE)
    assert everything(client) == before
    # What they have in hand is theirs.
    assert migrate(client, NAMESPACE, dry_run=True).recovered == {}
    assert migrate(client, NAMESPACE, workers_stopped=True).recovered == {"hang": 2}
    # They do not count as living any more, for a warning or the next run.
    assert migrate(client, NAMESPACE).moved == 0


def test_a_worker_whose_entry_is_damaged_counts_as_living(client: Redis) -> None:
    client.hset(OldKeys(NAMESPACE).workers, WORKER, "no JSON")
    before = everything(client)
    with pytest.raises(WorkersRunning, match=rf"an unknown host \({WORKER}\)"):
        migrate(client, NAMESPACE)
    assert everything(client) == before
    assert migrate(client, NAMESPACE, workers_stopped=True).moved > 0


def test_what_cannot_be_read_stays_and_is_told(client: Redis) -> None:
    client.flushall()
    items = [
        "no JSON", "[1]", "{}", old_job(1, id="5"), old_job(2, at="soon"), old_job(3, retries=None),
        old_job(4, task_args=5), old_job(5, queue="_x"),
        old_job(6, task_kwargs={"to": "x" * 600_000}),
        '{"task_name": ' + "[" * 5000, b"\xff\xfe",
    ]  # fmt: skip
    good = old_job(7)
    client.rpush("shop/spinach", *items[:6], good, *items[6:])
    client.hset(
        "shop/_periodic_tasks_hash", mapping={"a": "{}", "b": '{"queue": "q", "periodicity": 0}'}
    )
    client.set("shop/string", "no queue")
    done = migrate(client, NAMESPACE)
    assert done.queued == {"count": 1}
    assert sum(left.count for left in done.left if left.place == "shop/spinach") == len(items)
    assert client.llen("shop/spinach") == len(items)
    assert client.hlen("shop/_periodic_tasks_hash") == 2
    reasons = " ".join(left.reason for left in done.left)
    for word in ("no JSON", "damaged", "limit is 524288", "reserved", "less than a second"):
        assert word in reasons, word
    assert migrate(client, NAMESPACE, max_payload_bytes=10**6).queued == {"count": 1}


def test_instants_that_no_calendar_has_stay_and_are_told(client: Redis) -> None:
    client.flushall()
    instants = (10**30, -(10**12), 1e300, 253402300800)
    items = [old_job(number, at=at) for number, at in enumerate(instants)]
    client.rpush("shop/spinach", *items, old_job(99))
    client.zadd("shop/_future-jobs", dict.fromkeys(items, 5))
    client.hset("shop/_running-jobs-on-broker-dead", mapping=dict(zip("abcd", items, strict=True)))
    periodic = '{"queue": "spinach", "periodicity": 5}'
    client.hset("shop/_periodic_tasks_hash", mapping={"a": periodic, "b": periodic})
    client.zadd("shop/_periodic_tasks_queue", {"a": float("inf"), "b": 1e300})
    done = migrate(client, NAMESPACE)
    assert (done.moved, done.periodic) == (1, ())
    assert sum(left.count for left in done.left) == 3 * len(items) + 2
    assert all("damaged" in left.reason for left in done.left)


def test_text_that_cannot_be_printed_breaks_nothing(
    client: Redis,
    module_server: Server,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.flushall()
    client.rpush("shop/spinach", old_job(1, task_name="\ud800"), old_job(2))
    client.hset(
        "shop/_all_brokers_hash",
        mapping={"x": '{"id": "\\ud800", "name": "\\ud800", "last_seen_at": 5}'},
    )
    assert main([module_server.unix_url, "--namespace", NAMESPACE]) == 1
    assert "  \\ud800: 1 in shop/spinach: task name is" in capsys.readouterr().out


def test_report_is_written_where_the_terminal_lacks_its_letters(
    client: Redis, module_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.flushall()
    client.rpush("shop/spinach", old_job(1, task_name="zählen"))
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main([module_server.unix_url, "--namespace", NAMESPACE]) == 1
    sys.stdout.flush()
    assert b"  z\\xe4hlen: 1 in shop/spinach: task name is" in written.getvalue()


def test_numbers_beyond_our_limits_are_cut(client: Redis) -> None:
    client.flushall()
    client.rpush(
        "shop/spinach", old_job(1, max_retries=10**9, retries=2), old_job(2, max_retries=2.0)
    )
    assert migrate(client, NAMESPACE).queued == {"count": 2}
    records = client.hvals("{shop/spinach}:jobs")
    assert sorted(record.split(b"|")[1] for record in records) == [b"1000000", b"2"]


def test_job_that_is_here_already_keeps_what_it_spent(client: Redis) -> None:
    client.flushall()
    for _ in range(2):
        client.rpush("shop/spinach", old_job(1))
    assert migrate(client, NAMESPACE).queued == {"count": 2}
    client.hset("{shop/spinach}:attempts", f"1{uuid.UUID(int=1)}", "1,0,0")
    client.rpush("shop/spinach", old_job(1, max_retries=1, retries=1))
    migrate(client, NAMESPACE)
    assert client.lrange("{shop/spinach}:ready", 0, -1) == [f"1{uuid.UUID(int=1)}".encode()]
    assert client.hlen("{shop/spinach}:jobs") == 1


def produce(client: Redis, number: int, start: int = 0) -> None:
    """Jobs of the older spinach in all its places."""
    with client.pipeline(transaction=False) as pipe:
        for n in range(start, start + number):
            if n % 5 == 0:
                pipe.zadd("shop/_future-jobs", {old_job(n, at=4_102_542_245): 4_102_542_246})
            elif n % 7 == 0:
                pipe.hset("shop/_running-jobs-on-broker-x", str(n), old_job(n))
            else:
                pipe.rpush("shop/spinach", old_job(n))
        pipe.execute()


def stored(client: Redis) -> list[bytes]:
    """The ids in every place where a job can be here."""
    return (
        client.lrange("{shop/spinach}:ready", 0, -1)
        + client.zrange("{shop/spinach}:future", 0, -1)
        + client.zrange("{shop/spinach}:failed", 0, -1)
    )


def all_once(client: Redis, number: int) -> None:
    ids = stored(client)
    assert len(ids) == len(set(ids)) == number == client.hlen("{shop/spinach}:jobs")
    assert not client.keys("shop/*")


@pytest.mark.timeout(120)
def test_jobs_are_moved_once_though_the_program_is_killed_again_and_again(
    client: Redis, module_server: Server
) -> None:
    client.flushall()
    number, killed = 4000, 0
    produce(client, number)
    command = [sys.executable, "-m", "spinach_redis.migrate", module_server.unix_url]
    while client.exists("shop/spinach"):
        before = client.hlen("{shop/spinach}:jobs")
        with subprocess.Popen([*command, "--namespace", NAMESPACE]) as process:
            while killed < 3:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.002)
                    break
                if client.hlen("{shop/spinach}:jobs") > before + 300:
                    process.kill()
                    killed += 1
                    break
    assert killed == 3
    subprocess.run([*command, "--namespace", NAMESPACE], check=True)
    all_once(client, number)


@pytest.mark.concurrency
def test_two_runs_at_once_move_each_job_once(client: Redis, module_server: Server) -> None:
    client.flushall()
    produce(client, 1500)
    moved: list[int] = []

    def run() -> None:
        moved.append(migrate(url=module_server.unix_url, namespace=NAMESPACE).moved)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    migrate(client, NAMESPACE)
    assert sum(moved) <= 1500
    all_once(client, 1500)


@pytest.mark.concurrency
def test_workers_of_both_may_run_meanwhile(client: Redis, module_server: Server) -> None:
    """One of the older spinach takes jobs from the front, as its script does."""
    client.flushall()
    number = 1500
    for n in range(number):
        client.rpush("shop/spinach", old_job(n))
    taken: list[bytes] = []

    def older_worker() -> None:
        with module_server.client() as own:
            while (item := own.lpop("shop/spinach")) is not None:
                taken.append(item)

    app = App(module_server)
    app.engine.start_workers(2, block=False)
    thread = threading.Thread(target=older_worker)
    thread.start()
    done = migrate(client, NAMESPACE)
    thread.join()
    migrate(client, NAMESPACE)
    app.engine.stop_workers()
    app.run("spinach")
    assert len(app.calls) + len(taken) == number
    assert len({args for _, args, _ in app.calls}) == len(app.calls) >= done.moved
    app.broker.close()


def test_full_server_refuses_cleanly(client: Redis) -> None:
    client.flushall()
    produce(client, 200)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerFull):
            migrate(client, NAMESPACE)
    finally:
        client.config_set("maxmemory", 0)
    assert not client.keys("{shop/*")
    migrate(client, NAMESPACE)
    all_once(client, 200)


def test_queue_of_another_storage_version_is_left_alone(client: Redis) -> None:
    client.set("{shop/spinach}:version", "99")
    with pytest.raises(BrokerError, match="storage version 99"):
        migrate(client, NAMESPACE)
    assert client.llen("shop/spinach") == 7


def test_large_jobs_are_read_a_few_at_a_time(client: Redis) -> None:
    client.flushall()
    for n in range(1, 60):
        client.rpush("shop/spinach", old_job(n, task_args=["x" * 100_000]))
    client.config_resetstat()
    assert migrate(client, NAMESPACE).moved == 59
    reads = client.info("commandstats")["cmdstat_lrange"]["calls"]
    # Doubling the portion each time would take six.
    assert 10 < reads < 40


def test_it_works_on_a_database_with_other_keys_and_a_namespace_with_odd_characters(
    client: Redis,
) -> None:
    client.flushall()
    client.mset({f"other:{n}": n for n in range(5000)})
    # What it kept for an hour of each call of `schedule`.
    client.mset({f"prod [eu]*/idempotency_{n}": "true" for n in range(5000)})
    client.rpush("prod [eu]*/spinach", old_job(1))
    client.rpush("prod eu x/spinach", old_job(3))
    with pytest.raises(InvalidName, match="'prod_eu"):
        migrate(client, "prod [eu]*")
    client.config_resetstat()
    assert migrate(client, "prod [eu]*", into="prod-eu").queued == {"count": 1}
    calls = client.info("commandstats")
    assert 20 <= calls["cmdstat_scan"]["calls"] <= 60
    assert calls.get("cmdstat_type", {"calls": 0})["calls"] == 1  # of the script
    assert client.keys("prod eu x/*") == [b"prod eu x/spinach"]


def test_cluster_and_no_server_are_refused_in_words(cluster: Cluster) -> None:
    with cluster.client() as client:
        assert isinstance(client, RedisCluster)
        with pytest.raises(InvalidArgument, match="did not work"):
            migrate(client)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1 "):
        migrate(url="redis://127.0.0.1:1")


def test_command_tells_what_it_did(
    client: Redis, module_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    url = module_server.unix_url
    assert main([url, "--namespace", NAMESPACE, "--dry-run"]) == 1
    assert "Jobs that would be moved: 13\n" in capsys.readouterr().out
    assert main([url, "--namespace", NAMESPACE, "--task", "send mail=send_mail"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("Jobs moved: 14\n  docs/print@home: 1 queued\n")
    assert "  hang.once: 1 into the failed store, their worker died\n" in out
    assert "  report: periodic, keeps its next instant\nLeft: 1\n  once: 1 in shop/spinach: " in out
    client.delete("shop/spinach")
    assert main([url, "--namespace", NAMESPACE]) == 0
    assert capsys.readouterr().out == "Jobs moved: 0\n"


def test_command_refuses_in_one_line(
    client: Redis, module_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    client.flushall()
    restore(client, silent_seconds=0)
    assert main([module_server.unix_url, "--namespace", NAMESPACE]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.startswith("WorkersRunning: Workers of the older spinach may still run")
    with pytest.raises(SystemExit):
        main([module_server.unix_url, "--task", "nothing"])


def test_command_takes_the_server_from_the_environment(
    client: Redis, module_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", module_server.unix_url)
    assert main(["--namespace", "elsewhere", "--max-payload-bytes", "99"]) == 0
    assert main(["--namespace", "elsewhere", "--max-payload-bytes", "0"]) == 2
    monkeypatch.delenv("REDIS_URL")
    with pytest.raises(SystemExit):
        main(["--namespace", "elsewhere"])


def test_report_can_be_compared() -> None:
    assert Left(task="a", place="b", reason="c", count=1) == Left(
        task="a", place="b", reason="c", count=1
    )


@pytest.mark.parametrize(
    ("script", "declared", "before"), [(_ADOPT, _ADOPT_KEYS, 1), (_INHERIT, _INHERIT_KEYS, 2)]
)
def test_scripts_take_the_keys_that_are_declared(
    script: Any, declared: tuple[str, ...], before: int
) -> None:
    text = script.text.decode()
    names = text[text.index("local NAMES = {") :]
    listed = names[names.index("{") + 1 : names.index("}")].replace("'", "").replace("\n", " ")
    assert tuple(listed.replace(",", " ").split()) == declared
    assert f"named(NAMES, {before})" in text
    assert "cjson" not in text
