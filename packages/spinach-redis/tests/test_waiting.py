from __future__ import annotations

import errno
import gc
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis.exceptions import ResponseError

from spinach.brokers.calls import FetchTurn, Verdict
from spinach.exc import BrokerError
from spinach_redis import RedisBroker, waiting
from spinach_redis.client import retry
from spinach_redis.transport.connection import Connection
from spinach_redis.waiting import Selector

from .clusters import running_cluster
from .jobs import QUEUE, Member, deposit
from .servers import Server, until
from .wakeups import LONG_SECONDS, PROMPT_SECONDS, WaitingFetch, blocked, fetch_of, until_blocked

NewBroker = Callable[..., RedisBroker]


def broker_of_user_without(server: Server, command: str) -> RedisBroker:
    """A broker whose user may do all but this."""
    with server.client() as client:
        try:
            client.execute_command(
                *("ACL", "SETUSER", "worker", "on", "nopass", "~*", "+@all", f"-{command}")
            )
        except ResponseError:
            pytest.skip("Redis 6 cannot withhold a subcommand")
    broker = RedisBroker.from_url(f"redis://worker:any@127.0.0.1:{server.port}")
    broker.bind("curt", object())
    return broker


def test_interrupt_ends_a_wait_on_the_server(new_broker: NewBroker, own_server: Server) -> None:
    broker = new_broker(own_server.unix_url)
    waiting = WaitingFetch(Member(broker))
    until_blocked(own_server)
    broker.interrupt()
    [reply] = waiting.end()
    assert (reply.verdict, reply.leases) == (Verdict.APPLIED, ())


@pytest.mark.parametrize("_", range(30))
def test_interrupt_ends_a_wait_that_is_about_to_begin(new_broker: NewBroker, _: int) -> None:
    broker = new_broker()
    waiting = WaitingFetch(Member(broker))
    broker.interrupt()
    assert waiting.end()[0].verdict is Verdict.APPLIED


def test_interrupt_ends_all_waits_of_its_process_and_no_other(
    new_broker: NewBroker, own_server: Server
) -> None:
    mine, other = new_broker(own_server.unix_url), new_broker(own_server.unix_url)
    waits = [WaitingFetch(Member(mine)) for _ in range(2)]
    elsewhere = WaitingFetch(Member(other))
    until_blocked(own_server, count=3)
    mine.interrupt()
    assert [wait.end()[0].verdict for wait in waits] == [Verdict.APPLIED] * 2
    until_blocked(own_server, count=1)
    assert elsewhere.replies == []
    other.interrupt()
    elsewhere.end()


def test_wait_that_cannot_be_cut_short_ends_by_itself(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    broker = broker_of_user_without(own_server, "client|unblock")
    waiting = WaitingFetch(Member(broker), seconds=1.0)
    until_blocked(own_server)
    broker.interrupt()
    broker.interrupt()
    assert waiting.end()[0].verdict is Verdict.APPLIED
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert ["cut short" in record.getMessage() for record in warnings] == [True]
    broker.close()


def test_process_that_is_killed_while_it_waits_takes_no_wake_up_along(
    new_broker: NewBroker, own_server: Server
) -> None:  # I14
    dying, other = new_broker(own_server.unix_url), new_broker(own_server.unix_url)
    first = WaitingFetch(Member(dying))
    until_blocked(own_server)
    second = WaitingFetch(Member(other))
    until_blocked(own_server, count=2)
    with own_server.client() as client:
        oldest = min(
            (each for each in client.client_list() if each["cmd"] == "bzpopmin"),
            key=lambda each: int(each["id"]),
        )
        client.client_kill_filter(_id=oldest["id"])
    assert first.end()[0].verdict is Verdict.UNKNOWN
    other.enqueue([deposit()])
    assert len(second.end()[0].leases) == 1


def test_server_that_ends_a_wait_early_is_an_answer_too(
    new_broker: NewBroker, own_server: Server
) -> None:
    broker = new_broker(own_server.unix_url)
    waiting = WaitingFetch(Member(broker))
    until_blocked(own_server)
    own_server.stop(kill=True)
    assert waiting.end()[0].verdict is Verdict.UNKNOWN


def test_parks_that_are_asked_for_are_not_waited_for(new_broker: NewBroker) -> None:  # I13
    broker = new_broker()
    member = Member(broker)
    turn = member.turn()
    replies = broker.fetch(
        [FetchTurn(turn.queue, turn.member, turn.number, ("mail.send",))],
        idle=1,
        extra=0,
        max_bytes=1000,
        block_seconds=LONG_SECONDS,
    )
    assert replies[0].verdict is Verdict.APPLIED


def test_idle_process_sends_two_commands_a_wait(new_broker: NewBroker, own_server: Server) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    assert member.take() == []
    WaitingFetch(member, seconds=0.01).end()
    with own_server.client() as client:
        client.config_resetstat()
        WaitingFetch(member, seconds=0.01).end()
        stats = client.info("commandstats")
    sent = {
        name: stat["calls"] for name, stat in stats.items() if "evalsha" in name or "bz" in name
    }
    assert sent == {"cmdstat_bzpopmin": 1, "cmdstat_evalsha": 1}


def test_interrupt_of_a_wait_on_a_server_that_hangs_is_bounded(
    new_broker: NewBroker, own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinach_redis.waiting.BREAK_OFF_SECONDS", 0.1)
    monkeypatch.setattr("spinach_redis.client.client.CALL_TIMEOUT_SECONDS", 0.1)
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    waiting = WaitingFetch(member)
    until_blocked(own_server)
    own_server.freeze()
    broker.interrupt()
    [reply] = waiting.end()
    own_server.thaw()
    assert reply.verdict is Verdict.UNKNOWN
    # It is left alone for a moment first.
    until(lambda: broker.counts([QUEUE])[0].error is None, "an answer", 10)
    # What the server still sends on the old connection is nobody's answer.
    assert broker.beat([member.turn()])[0].verdict is Verdict.APPLIED


def test_wait_for_several_queues_ends_with_the_first_of_them(
    new_broker: NewBroker, own_server: Server
) -> None:
    broker = new_broker(own_server.unix_url)
    members = [Member(broker, queue) for queue in ("one", "two", "three")]
    waiting = WaitingFetch(*members)
    until_blocked(own_server)
    job = deposit("two")
    broker.enqueue([job])
    leases = [[lease.stored_id for lease in reply.leases] for reply in waiting.end()]
    assert leases == [[], [job.stored_id], []]


def test_server_that_takes_one_queue_a_call_gets_one_queue_a_call(
    new_broker: NewBroker,
) -> None:
    """As some hosted servers are: a Cluster of one node, which a plain client reaches."""
    with running_cluster(1) as cluster:
        [node] = cluster.nodes
        broker = new_broker(node.url)
        queues = ["one", "two", "three"]
        members = [Member(broker, queue) for queue in queues]
        waiting = WaitingFetch(*members)
        until_blocked(node, count=3)
        broker.enqueue([deposit("two"), deposit("three")])
        assert sum(len(reply.leases) for reply in waiting.end()) == 1
        assert sum(len(reply.leases) for reply in fetch_of(*members, idle=5)) == 1
        assert [count.leased for count in broker.counts(queues)] == [0, 1, 1]
        assert blocked(node) == 0
        # Counts may come first.
        other = new_broker(node.url)
        assert [count.leased for count in other.counts(queues)] == [0, 1, 1]


def test_wait_that_cannot_begin_is_not_tried_again_at_once(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = RedisBroker.from_url(own_server.url)
    broker.bind("crowded", object())
    member = Member(broker)
    pauses: list[float] = []
    with pytest.MonkeyPatch.context() as patch, own_server.client() as client:
        patch.setattr(Selector, "pause", lambda _, seconds: pauses.append(seconds))
        # One connection serves the calls, and none is left for the wait.
        client.config_set("maxclients", 2)
        for _ in range(20):
            assert member.fetch(block_seconds=LONG_SECONDS).verdict is Verdict.APPLIED
        client.config_set("maxclients", 100)
        waits = WaitingFetch(member)
        until_blocked(own_server)
        broker.interrupt()
        waits.end()
    assert len(pauses) == 20
    assert max(pauses) > 1.0
    told = [record.getMessage() for record in caplog.records]
    assert len([text for text in told if "cannot wait for jobs" in text]) == 1
    assert len([text for text in told if "can wait for jobs again" in text]) == 1
    assert len(told) == 2
    broker.close()


def test_user_who_may_not_ask_for_an_id_is_told_so(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LOCKOUT_SECONDS", 0.0)
    broker = broker_of_user_without(own_server, "client|id")
    member = Member(broker)
    with pytest.raises(BrokerError, match="does not let this user"):
        member.fetch(block_seconds=LONG_SECONDS)
    broker.close()


def test_selector_is_as_new_for_the_next_thread() -> None:
    selector = Selector()
    selector.interrupt()
    assert selector.select(LONG_SECONDS) == []
    # After an interrupt there is no pause.
    selector.pause(LONG_SECONDS)
    selector.interrupt()
    selector.reset()
    began = time.monotonic()
    selector.pause(0.05)
    assert time.monotonic() - began >= 0.04
    selector.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks the Linux kernel")
def test_waits_leave_no_descriptor_behind(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.url)
    broker.bind("tidy", object())
    member = Member(broker)

    def wait_once() -> int:
        member.fetch(block_seconds=0.01)
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    first = wait_once()
    assert max(wait_once() for _ in range(10)) <= first
    broker.close()


def test_worker_without_descriptors_looks_for_jobs_all_the_same(
    own_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = RedisBroker.from_url(own_server.url)
    broker.bind("scarce", object())
    member = Member(broker)
    pauses: list[float] = []

    def refused() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(waiting, "Selector", refused)
        patch.setattr(waiting, "time", SimpleNamespace(**vars(time) | {"sleep": pauses.append}))
        for _ in range(20):
            broker.enqueue([deposit()])
            assert len(member.fetch(idle=1, block_seconds=LONG_SECONDS).leases) == 1
    assert len(pauses) == 20
    assert max(pauses) <= waiting.REFUSED_PAUSE_SECONDS
    told = [text for text in caplog.messages if "cannot wait for jobs" in text]
    assert len(told) == 1
    assert "Too many open files" in told[0]
    broker.close()


def test_selector_that_is_half_made_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", refused)
    with pytest.raises(OSError, match="Too many"):
        Selector()
    gc.collect()


def test_connection_is_forgotten_before_it_is_closed(
    own_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = broker_of_user_without(own_server, "client|unblock")
    member = Member(broker)
    selectors: set[Selector] = set()
    watched: list[bool] = []
    register, close = Selector.register, Connection.close

    def noted(self: Selector, connection: Connection) -> None:
        selectors.add(self)
        register(self, connection)

    def look(self: Connection) -> None:
        watched.append(any(self in selector._numbers for selector in selectors))
        close(self)

    monkeypatch.setattr(Selector, "register", noted)
    monkeypatch.setattr(Connection, "close", look)
    waits = WaitingFetch(member)
    until_blocked(own_server)
    # The wait cannot be cut short, and its connection breaks.
    broker.interrupt()
    until(lambda: "cannot be cut short" in caplog.text, "the refusal", PROMPT_SECONDS)
    watched.clear()
    with own_server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    waits.end()
    # A child of this process may hold it open, and its news would never end.
    assert watched
    assert not any(watched)
    broker.close()


def test_wait_that_is_broken_off_leaves_its_answer_to_no_other(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = RedisBroker.from_url(own_server.url)
    broker.bind("broken-off", object())
    member = Member(broker)

    def interrupted(_self: Selector, _seconds: float) -> list[Connection]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Selector, "select", interrupted)
        with pytest.raises(KeyboardInterrupt):
            member.fetch(block_seconds=LONG_SECONDS)
    until(lambda: blocked(own_server) == 0, "the end of the wait", PROMPT_SECONDS)
    waits = WaitingFetch(member)
    until_blocked(own_server)
    broker.enqueue([deposit()])
    assert len(waits.end()[0].leases) == 1
    broker.close()
