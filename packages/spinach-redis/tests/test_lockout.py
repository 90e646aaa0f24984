"""A process that was let in once tolerates refusals for a while, as after a change of passwords."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import NoPermissionError

from spinach import Engine
from spinach.brokers.calls import Verdict
from spinach.exc import BrokerError
from spinach_redis import RedisBroker
from spinach_redis.client import retry
from spinach_redis.client.retry import (
    APART_SECONDS,
    LOCKOUT_SECONDS,
    WARN_EVERY_SECONDS,
    Lockout,
)
from spinach_redis.transport.health import Health

from .clocks import Clock
from .jobs import QUEUE, Member, deposit, success
from .servers import Server, until


class Vault(redis.CredentialProvider):
    """Where a process has its password from; it may lag."""

    def __init__(self) -> None:
        self.password = "old"
        #: Somebody asked.
        self.asked = threading.Semaphore(0)

    def get_credentials(self) -> tuple[str, str]:
        self.asked.release()
        return ("worker", self.password)


class Rotation:
    """A server whose password changes, and what its clients believe it to be."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.vault = Vault()
        self._admin = server.client()
        self._set("old")

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.server.port, credential_provider=self.vault)

    def rotate(self) -> None:
        """A new password on the server, and no connection that was let in with the old one."""
        self._set("new")
        self._admin.execute_command("CLIENT", "KILL", "USER", "worker")

    def catch_up(self) -> None:
        self.vault.password = "new"

    def refusals(self) -> int:
        stats = self._admin.info("errorstats").get("errorstat_WRONGPASS", {"count": 0})
        return int(stats["count"])

    def permit(self, rule: str) -> None:
        self._admin.execute_command("ACL", "SETUSER", "worker", rule)

    def _set(self, password: str) -> None:
        self._admin.execute_command(
            "ACL", "SETUSER", "worker", "reset", "on", f">{password}", "~*", "&*", "+@all"
        )

    def close(self) -> None:
        self._admin.close()


@pytest.fixture
def rotation(own_server: Server) -> Iterator[Rotation]:
    rotation = Rotation(own_server)
    yield rotation
    rotation.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


def texts(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [each.getMessage() for each in caplog.records if words in each.getMessage()]


def test_workers_get_over_a_password_that_lags(
    rotation: Rotation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A call that is not made again for lack of an occasion holds the news back no longer.
    monkeypatch.setattr(retry, "APART_SECONDS", 2.0)
    caplog.set_level(logging.INFO)
    broker = RedisBroker(rotation.client())
    spin = Engine(broker, namespace="rotated")
    ran: list[int] = []
    lock, done, go_on = threading.Lock(), threading.Semaphore(0), threading.Event()

    def note(number: int) -> None:
        if number == 0:
            # It runs while nobody is let in.
            done.release()
            assert go_on.wait(60)
        with lock:
            ran.append(number)
        done.release()

    spin.task(name="note", max_retries=0)(note)
    spin.schedule("note", 0)
    spin.start_workers(2, block=False)
    assert done.acquire(timeout=30)
    before = rotation.refusals()
    rotation.rotate()
    until(lambda: rotation.refusals() >= before + 5, "workers are refused")
    go_on.set()
    assert done.acquire(timeout=30)
    # Its outcome cannot be told yet, and a producer with the old password is told so in time.
    with pytest.raises(BrokerError, match="refuses the user name or the password") as caught:
        spin.schedule("note", -1)
    assert caught.value.unknown == ()
    rotation.catch_up()
    for number in range(1, 20):
        spin.schedule("note", number)
    for _ in range(1, 20):
        assert done.acquire(timeout=30)
    until(lambda: texts(caplog, "lets this process in again"), "the log is told")
    spin.stop_workers()
    assert sorted(ran) == list(range(20))
    [counts] = broker.counts(["spinach"])
    assert (counts.ready, counts.leased, counts.failed) == (0, 0, 0)
    broker.close()
    assert texts(caplog, "refuses this process, which it let in before")
    assert len(texts(caplog, "lets this process in again")) == 1
    assert texts(caplog, "giving up") == []


def test_producer_retries_until_its_password_has_come(rotation: Rotation) -> None:
    broker = RedisBroker(rotation.client())
    broker.bind("rotated", object())
    broker.enqueue([deposit()])
    rotation.rotate()
    while rotation.vault.asked.acquire(blocking=False):
        pass
    done = threading.Event()

    def produce() -> None:
        broker.enqueue([deposit()])
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    # It was refused once, and is on its second try.
    assert rotation.vault.asked.acquire(timeout=10)
    assert rotation.vault.asked.acquire(timeout=10)
    rotation.catch_up()
    producer.join(10)
    assert done.is_set()
    assert broker.counts([QUEUE])[0].ready == 2
    broker.close()


def test_first_join_with_a_wrong_password_is_refused_at_once(rotation: Rotation) -> None:
    rotation.vault.password = "wrong"
    broker = RedisBroker(rotation.client())
    spin = Engine(broker, namespace="wrong")
    with pytest.raises(BrokerError, match="refuses the user name or the password"):
        spin.start_workers(1)
    assert rotation.refusals() <= 2
    broker.close()


@pytest.mark.parametrize("withheld", ["-evalsha", "-bzpopmin", "resetkeys", ">none", "off"])
def test_workers_end_when_the_refusal_stays(
    rotation: Rotation,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    withheld: str,
) -> None:
    monkeypatch.setattr(retry, "LOCKOUT_SECONDS", 1.0)
    broker = RedisBroker(rotation.client())
    spin = Engine(broker, namespace="locked-out")
    started = threading.Event()
    spin.task(name="note")(started.set)
    spin.schedule("note")
    ended: list[BaseException] = []

    def work() -> None:
        try:
            spin.start_workers(1, block=True)
        except BrokerError as error:
            ended.append(error)

    workers = threading.Thread(target=work)
    workers.start()
    assert started.wait(30)
    if withheld in (">none", "off"):
        rotation.rotate()
    else:
        rotation.permit(withheld)
    workers.join(60)
    assert not workers.is_alive()
    [error] = ended
    assert "refuses the user name" in str(error) or "does not let this user" in str(error)
    [_] = {text.partition(" has refused")[0] for text in texts(caplog, "giving up")}
    broker.close()


# -- the rule ---------------------------------------------------------------------

REFUSED = NoPermissionError("User worker has no permissions to run the 'evalsha' command")


def test_process_that_was_never_let_in_tolerates_nothing() -> None:
    assert not Lockout().tolerates(Health("here"), "join", REFUSED)


def test_refusal_is_tolerated_for_five_minutes_and_told_each_half(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    here, gate = Health("here"), Lockout()
    gate.answered("here", "join")
    began = clock.now
    while clock.now < began + LOCKOUT_SECONDS:
        assert gate.tolerates(here, "fetch", REFUSED)
        # Others are answered meanwhile, which is no help.
        gate.answered("here", "beat")
        clock.now += 1.0
    assert not gate.tolerates(here, "fetch", REFUSED)
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == LOCKOUT_SECONDS / WARN_EVERY_SECONDS
    assert "300 seconds more" in warnings[0].getMessage()
    [error] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "for 300 seconds, giving up" in error.getMessage()
    # Now all the others end as well.
    assert not gate.tolerates(here, "leave", REFUSED)


def test_answer_begins_the_while_anew(clock: Clock) -> None:
    here, gate = Health("here"), Lockout()
    gate.answered("here", "join")
    for _ in range(5):
        for _ in range(int(LOCKOUT_SECONDS)):
            assert gate.tolerates(here, "fetch", REFUSED)
            clock.now += 1.0
        gate.answered("here", "fetch")
        assert not gate.refused


def test_refusals_of_a_rare_call_that_lie_apart_are_not_of_one_lockout(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    here, gate = Health("here"), Lockout()
    gate.answered("here", "join")
    for _ in range(3):
        for call in ("recover", "fetch"):
            assert gate.tolerates(here, call, REFUSED)
        # Nobody has to be recovered any more, so that this call is not made again.
        gate.answered("here", "fetch")
        assert texts(caplog, "lets this process in again") == []
        clock.now += APART_SECONDS + 1
        gate.answered("here", "fetch")
        assert len(texts(caplog, "lets this process in again")) == 1
        caplog.clear()
        clock.now += LOCKOUT_SECONDS
    # Nor where nothing at all was answered in between.
    assert gate.tolerates(here, "recover", REFUSED)
    clock.now += LOCKOUT_SECONDS
    assert gate.tolerates(here, "recover", REFUSED)


def test_membership_outlives_a_lockout_as_any_outage(rotation: Rotation) -> None:  # I11
    """Longer than its lease: the process is taken for dead by those who are let in."""
    offset_ms = [0]
    broker = RedisBroker(rotation.client(), _offset_ms=lambda: offset_ms[0])
    with rotation.server.client() as client:
        other = RedisBroker(client, _offset_ms=lambda: offset_ms[0])
    for each in (broker, other):
        each.bind("outlived", object())
    member, survivor = Member(broker), Member(other)
    broker.enqueue([deposit()])
    [lease] = member.take()
    rotation.rotate()
    # The first call finds the connection gone, the second one is not let in.
    for _ in range(2):
        [reply] = broker.beat([member.turn()])
        assert reply.verdict is Verdict.UNKNOWN
    assert "refuses the user name" in str(reply.error)
    dead = None
    while dead is None:
        offset_ms[0] += 9_000
        dead = other.beat([survivor.turn()])[0].dead
    assert dead == member.name
    other.recover(QUEUE, dead)
    rotation.catch_up()
    # What it held is another's, and it joins again as anybody new.
    assert broker.beat([member.turn()])[0].verdict is Verdict.FENCED
    [report] = broker.report([success(lease)]).verdicts
    assert report is not Verdict.APPLIED
    Member(broker)
    for each in (broker, other):
        each.close()
