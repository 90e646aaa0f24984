"""A client's call is over in time, whatever the server does, and tells each job's fate."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spinach import Batch, Engine, Tasks
from spinach.exc import BrokerError, BrokerUnavailable, InvalidArgument, ScheduleUncertain
from spinach.job import Job, JobStatus
from spinach_redis import RedisBroker, producer
from spinach_redis.client.retry import MOST_REFUSED_SECONDS
from spinach_redis.transport import connection
from spinach_redis.transport.command import Command
from spinach_redis.transport.connection import Connection
from spinach_redis.transport.deadline import Deadline

from .clusters import Cluster, running_cluster
from .connections import causes, connection_to, exchange, replies
from .faulty_ports import mute_port, swallowing_port
from .jobs import QUEUE, deposit
from .sentinels import SERVICE, running_sentinels
from .servers import Server, free_port, until

NewBroker = Callable[..., RedisBroker]

TIMEOUT = timedelta(seconds=1)
#: What a busy machine may add.
MARGIN_SECONDS = 1.0
QUEUES = ("one", "two", "three")

tasks = Tasks()
for name in QUEUES:
    tasks.add(print, name=f"print.{name}", queue=name)


def engine_of(broker: RedisBroker) -> Engine:
    spin = Engine(broker, namespace="t" + uuid.uuid4().hex)
    spin.attach_tasks(tasks)
    return spin


def batch(queues: tuple[str, ...] = QUEUES) -> Batch:
    jobs = Batch()
    for queue in queues:
        jobs.schedule(f"print.{queue}")
    return jobs


def some_job() -> Job:
    return Job(
        id_text=str(uuid.uuid4()), status=JobStatus.FAILED, task_name="print.one", queue="one",
        at=datetime.now(UTC), max_retries=0,
    )  # fmt: skip


CALLS: dict[str, Callable[[Engine], object]] = {
    "schedule": lambda spin: spin.schedule("print.one"),
    "schedule_at": lambda spin: spin.schedule_at("print.one", datetime.now(UTC)),
    "schedule_batch": lambda spin: spin.schedule_batch(batch()),
    "failed.list": lambda spin: spin.failed.list("one"),
    "failed.retry": lambda spin: spin.failed.retry(some_job()),
    "failed.discard": lambda spin: spin.failed.discard(some_job()),
}


def seconds_of(call: Callable[[], object]) -> tuple[float, BrokerError]:
    """How long a call takes that fails, and how it does."""
    began = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        call()
    return time.monotonic() - began, caught.value


@contextlib.contextmanager
def closed() -> Iterator[str]:
    yield f"redis://127.0.0.1:{free_port()}"


@contextlib.contextmanager
def swallowing() -> Iterator[str]:
    with swallowing_port() as port:
        yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def mute() -> Iterator[str]:
    with mute_port() as port:
        yield f"redis://:secret@127.0.0.1:{port}/3"


@contextlib.contextmanager
def encrypted_mute() -> Iterator[str]:
    with mute_port() as port:
        yield f"rediss://127.0.0.1:{port}"


FAULTS = {each.__name__: each for each in (closed, swallowing, mute, encrypted_mute)}


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops packets there")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_call_ends_in_time_where_no_server_is_to_be_had(fault: str, call: str) -> None:
    with FAULTS[fault]() as url:
        broker = RedisBroker.from_url(url, client_timeout=TIMEOUT)
        seconds, error = seconds_of(lambda: CALLS[call](engine_of(broker)))
        broker.close()
    assert seconds <= TIMEOUT.total_seconds() + MARGIN_SECONDS
    assert type(error) is BrokerUnavailable
    assert (error.stored, error.unknown) == ((), ())
    if "schedule" in call:
        assert len(error.not_sent) == (len(QUEUES) if "batch" in call else 1)


@pytest.mark.parametrize("call", CALLS)
def test_call_ends_in_time_where_the_server_hangs(own_server: Server, call: str) -> None:
    broker = RedisBroker.from_url(own_server.url, client_timeout=TIMEOUT)
    spin = engine_of(broker)
    # Connections are open, so that the requests leave.
    spin.schedule_batch(batch())
    spin.failed.list("one")
    own_server.freeze()
    seconds, error = seconds_of(lambda: CALLS[call](spin))
    own_server.thaw()
    broker.close()
    assert seconds <= TIMEOUT.total_seconds() + MARGIN_SECONDS
    if "schedule" in call:
        assert type(error) is ScheduleUncertain
        assert (error.stored, error.not_sent) == ((), ())
        assert len(error.unknown) == (len(QUEUES) if "batch" in call else 1)
    else:
        assert "list" in call or "is unknown" in str(error)


def test_wait_of_a_later_try_ends_with_the_call(own_server: Server) -> None:
    line = connection_to(own_server.url, 60.0)
    line.open(deadline=Deadline(60.0))
    assert causes(exchange(line, Command(b"PING"))) == []
    # The same connection, for a call that has little time left.
    line.open(deadline=Deadline(0.3))
    own_server.freeze()
    began = time.monotonic()
    assert len(causes(exchange(line, Command(b"PING")))) == 1
    assert time.monotonic() - began <= MARGIN_SECONDS
    own_server.thaw()
    # And for one that has time again.
    line.open(deadline=Deadline(60.0))
    assert replies(exchange(line, Command(b"PING"))) == [b"PONG"]
    assert line._socket.gettimeout() == 60.0
    line.close()


def test_server_that_comes_back_in_time_is_found(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.url, client_timeout=timedelta(seconds=20))
    spin = engine_of(broker)
    spin.schedule("print.one")
    own_server.freeze()
    began = time.monotonic()
    thaw = threading.Timer(1.0, own_server.thaw)
    thaw.start()
    spin.schedule("print.one")
    assert time.monotonic() - began < 10
    thaw.join()
    assert broker.counts(["one"])[0].ready == 2
    broker.close()


@pytest.mark.parametrize("url", ["port", "unix:///nowhere/at/all"])
def test_only_server_at_whose_port_nobody_listens_is_not_waited_for(url: str) -> None:
    if url == "port":
        url = f"redis://127.0.0.1:{free_port()}"
    broker = RedisBroker.from_url(url, client_timeout=timedelta(seconds=60))
    seconds, error = seconds_of(lambda: CALLS["schedule_batch"](engine_of(broker)))
    # Tried more than once, since a restart takes a moment.
    assert MOST_REFUSED_SECONDS / 2 < seconds < MOST_REFUSED_SECONDS + 2 * MARGIN_SECONDS
    assert type(error) is BrokerUnavailable
    assert len(error.not_sent) == len(QUEUES)
    broker.close()


def test_server_that_restarts_at_once_is_found(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.url)
    spin = engine_of(broker)
    spin.schedule("print.one")
    own_server.stop()
    start = threading.Thread(target=own_server.start)
    start.start()
    spin.schedule("print.one")
    start.join()
    broker.close()


def test_default_is_five_seconds() -> None:
    with mute_port() as port:
        broker = RedisBroker.from_url(f"redis://:secret@127.0.0.1:{port}")
        seconds, _ = seconds_of(lambda: CALLS["schedule"](engine_of(broker)))
        broker.close()
    assert broker.client_timeout == timedelta(seconds=5)
    assert 4.0 <= seconds <= 5.0 + MARGIN_SECONDS


def test_call_of_a_client_in_a_hurry_does_not_have_workers_rest(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.url, client_timeout=timedelta(milliseconds=100))
    spin = engine_of(broker)
    spin.schedule("print.one")
    own_server.freeze()
    seconds_of(lambda: CALLS["schedule"](spin))
    own_server.thaw()
    # It is asked at once.
    assert broker.counts(["one"])[0].ready >= 1
    broker.close()


# -- batches ----------------------------------------------------------------------


def test_batch_that_gets_on_may_take_longer(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round is answered late, but in time; together they take several times as long."""
    monkeypatch.setattr(producer, "CHUNK_JOBS", 1)
    monkeypatch.setattr(producer, "IN_FLIGHT", 1)
    broker = RedisBroker.from_url(own_server.url, client_timeout=TIMEOUT)
    spin = engine_of(broker)
    spin.schedule("print.one")
    jobs = 6
    frozen: list[float] = []
    send = Connection.send

    def slowly(self: Connection, requests: object, **options: object) -> None:
        # The server stands still for a part of each round.
        own_server.freeze()
        timer = threading.Timer(0.5, own_server.thaw)
        timer.start()
        frozen.append(time.monotonic())
        send(self, requests, **options)

    monkeypatch.setattr(Connection, "send", slowly)
    many = Batch()
    for _ in range(jobs):
        many.schedule("print.one")
    began = time.monotonic()
    spin.schedule_batch(many)
    assert time.monotonic() - began > 2 * TIMEOUT.total_seconds()
    assert len(frozen) == jobs
    monkeypatch.undo()
    assert broker.counts(["one"])[0].ready == jobs + 1
    broker.close()


class SlowLine:
    """Passes on what a client sends at `bytes_a_second`, and answers at once."""

    def __init__(self, server: Server, bytes_a_second: int) -> None:
        self._listener = socket.socket()
        # Set before connections are accepted, which inherit it.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = int(self._listener.getsockname()[1])
        self._pause = PIECE_BYTES / bytes_a_second
        self._server = server
        self._closed = threading.Event()
        self._start(self._accept)

    def close(self) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, function: Callable[..., None], *args: object) -> None:
        threading.Thread(target=function, args=args, name="slow-line", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(("127.0.0.1", self._server.port))
                self._start(self._pass_on, client, upstream, self._pause)
                self._start(self._pass_on, upstream, client, 0.0)

    def _pass_on(self, source: socket.socket, target: socket.socket, pause: float) -> None:
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(PIECE_BYTES):
                target.sendall(data)
                self._closed.wait(pause)
            target.shutdown(socket.SHUT_WR)


PIECE_BYTES = 8 * 1024


def test_batch_that_is_sent_slowly_but_steadily_is_stored(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A part takes a thirtieth of the timeout, so that a busy machine may take far longer.
    monkeypatch.setattr(producer, "CHUNK_BYTES", 32 * 1024)
    monkeypatch.setattr(connection, "PART_BYTES", 32 * 1024)
    line = SlowLine(own_server, 1024 * 1024)
    broker = RedisBroker.from_url(f"redis://127.0.0.1:{line.port}", client_timeout=TIMEOUT)
    broker.bind("slow", object())
    broker.enqueue([deposit()])
    [by_timeout] = broker._process.client.pool._idle.values()
    [[opened]] = by_timeout.values()
    # Else the kernel takes most of it at once.
    opened._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)
    jobs = [deposit(payload=b"[" + b"1" * 15_000 + b"]") for _ in range(260)]
    began = time.monotonic()
    broker.enqueue(jobs)
    assert time.monotonic() - began > 3 * TIMEOUT.total_seconds()
    assert broker.counts([QUEUE])[0].ready == len(jobs) + 1
    broker.close()
    line.close()


def test_late_confirmations_do_not_give_a_batch_more_time(own_server: Server) -> None:
    """It is stored, but no replica confirms it: no part went through."""
    broker = RedisBroker.from_url(own_server.url, wait_replicas=1, client_timeout=TIMEOUT)
    spin = engine_of(broker)
    seconds, error = seconds_of(lambda: spin.schedule_batch(batch()))
    broker.close()
    assert seconds <= TIMEOUT.total_seconds() + MARGIN_SECONDS
    assert type(error) is ScheduleUncertain
    assert len(error.unknown) == len(QUEUES)


def test_deadline_renews_only_where_a_call_has_parts() -> None:
    one, several = Deadline(10.0), Deadline(10.0, renews=True)
    ends = one.end, several.end
    for each in (one, several):
        each.progressed()
    assert one.end == ends[0]
    assert several.end > ends[1]


@pytest.mark.parametrize("client_timeout", [timedelta(milliseconds=99), 5, 5.0, None])
def test_timeout_that_is_none_is_refused(client_timeout: object) -> None:
    for make in (RedisBroker, lambda **more: RedisBroker.from_url("redis://here", **more)):
        with pytest.raises(InvalidArgument, match=r"client_timeout is .* at least 0\.1 seconds"):
            make(client_timeout=client_timeout)


# -- several servers --------------------------------------------------------------


@pytest.fixture(scope="module")
def patient_cluster(binary: None) -> Iterator[Cluster]:
    """Its nodes are frozen for a second, and are to stay what they are."""
    with running_cluster() as cluster:
        yield cluster


@pytest.mark.parametrize("connected", [True, False])
def test_hanging_node_takes_no_time_from_the_others(
    patient_cluster: Cluster, connected: bool
) -> None:
    cluster, namespace = patient_cluster, "t" + uuid.uuid4().hex
    queues = [cluster.queue_on(node, namespace) for node in cluster.nodes]
    with cluster.client() as client:
        broker = RedisBroker(client, client_timeout=TIMEOUT)
    broker.bind(namespace, object())
    broker.counts(queues)  # reads the map
    if connected:
        broker.enqueue([deposit(queue) for queue in queues])
    for hanging, node in enumerate(cluster.nodes):
        jobs = [deposit(queue) for queue in queues]
        node.freeze()
        try:
            seconds, error = seconds_of(lambda jobs=jobs: broker.enqueue(jobs))
        finally:
            node.thaw()
        ids = [uuid.UUID(job.stored_id[1:]) for job in jobs]
        assert seconds <= TIMEOUT.total_seconds() + MARGIN_SECONDS
        [lost] = {*error.unknown, *error.not_sent}
        assert lost == ids.pop(hanging)
        assert set(error.stored) == set(ids)
        broker.close()
        if connected:
            until(lambda q=queues: broker.enqueue([deposit(each) for each in q]), "it is back")
    broker.close()


def test_connection_that_hangs_leaves_time_to_make_the_others(
    patient_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, namespace = patient_cluster, "t" + uuid.uuid4().hex
    queues = [cluster.queue_on(node, namespace) for node in cluster.nodes]
    with cluster.client() as client:
        broker = RedisBroker(client, client_timeout=TIMEOUT)
    broker.bind(namespace, object())
    broker.counts(queues)
    left: list[float] = []
    opens = Connection.open

    def noting(self: Connection, *, opening: Deadline | None = None, **more: Any) -> None:
        if opening is not None:
            left.append(opening.left())
        opens(self, opening=opening, **more)

    monkeypatch.setattr(Connection, "open", noting)
    cluster.nodes[0].freeze()
    try:
        with pytest.raises(BrokerError):
            broker.enqueue([deposit(queue) for queue in queues])
    finally:
        cluster.nodes[0].thaw()
    broker.close()
    # Of the first try, in which the first one hangs.
    assert min(left[:3]) >= TIMEOUT.total_seconds() / 6


@pytest.mark.parametrize("call", ["failed.list", "failed.retry", "schedule"])
def test_call_ends_in_time_where_its_node_of_a_cluster_hangs(
    patient_cluster: Cluster, call: str
) -> None:
    with patient_cluster.client() as client:
        broker = RedisBroker(client, client_timeout=TIMEOUT)
    spin = engine_of(broker)
    spin.schedule("print.one")
    spin.failed.list("one")
    node = patient_cluster.owner(f"{{{spin.namespace}/one}}")
    node.freeze()
    try:
        seconds, _ = seconds_of(lambda: CALLS[call](spin))
    finally:
        node.thaw()
    broker.close()
    assert seconds <= TIMEOUT.total_seconds() + MARGIN_SECONDS


@pytest.mark.timeout(300)
def test_hanging_sentinels_and_a_hanging_primary_are_waited_for_in_time(binary: None) -> None:
    # Long enough that the Sentinels do not act.
    with running_sentinels(replicas=1, down_after_ms=60_000) as watched:
        sentinel = watched.sentinel()
        broker = RedisBroker(sentinel.master_for(SERVICE), client_timeout=TIMEOUT)
        spin = engine_of(broker)
        # One of three hangs: the next one is asked.
        watched.sentinels[0].freeze()
        spin.schedule("print.one")
        watched.sentinels[0].thaw()
        for hanging in ([watched.group.primary], watched.sentinels):
            for name in ("schedule_batch", "failed.list"):
                # Who has a connection does not ask the Sentinels.
                broker.close()
                for server in hanging:
                    server.freeze()
                try:
                    seconds, error = seconds_of(lambda name=name: CALLS[name](spin))
                finally:
                    for server in hanging:
                        server.thaw()
                assert seconds <= TIMEOUT.total_seconds() + MARGIN_SECONDS
                assert type(error) is BrokerUnavailable
        broker.close()
        for client in sentinel.sentinels:
            client.close()
