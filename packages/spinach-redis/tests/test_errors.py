from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis import exceptions
from redis.connection import Connection

from spinach.brokers.calls import Enrolment, Turn, Verdict
from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable
from spinach_redis import RedisBroker
from spinach_redis.server.examine import examine
from spinach_redis.topology.topology import Node
from spinach_redis.transport import health
from spinach_redis.transport.connection import Answer
from spinach_redis.transport.errors import Fault, fault_of, to_broker_error
from spinach_redis.transport.settings import ConnectionSettings

from .jobs import QUEUE, TASK, Member, deposit
from .servers import Server, until

HERE = Node(ConnectionSettings(Connection, {"host": "here", "port": 1}))
INSIDE_A_SCRIPT = "Error running script (call to f_0123): @user_script:9: @user_script: 9: -"


@pytest.mark.parametrize(
    "error, fault",
    [
        (exceptions.ConnectionError("Error 111 connecting"), Fault.PASSING),
        (exceptions.ConnectionError("max number of clients reached"), Fault.PASSING),
        (exceptions.TimeoutError("Timeout reading from socket"), Fault.PASSING),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), Fault.PASSING),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), Fault.PASSING),
        (exceptions.MasterDownError("Link with MASTER is down"), Fault.PASSING),
        (exceptions.ClusterDownError("The cluster is down"), Fault.PASSING),
        (exceptions.TryAgainError("Multiple keys request"), Fault.PASSING),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), Fault.PASSING),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), Fault.PASSING),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), Fault.PASSING),
        (exceptions.ResponseError("UNBLOCKED force unblock from blocking"), Fault.PASSING),
        (exceptions.ResponseError(INSIDE_A_SCRIPT + "READONLY You can't write"), Fault.PASSING),
        (exceptions.OutOfMemoryError("command not allowed when used memory"), Fault.FULL),
        (exceptions.ResponseError(INSIDE_A_SCRIPT + "OOM command not allowed"), Fault.FULL),
        (exceptions.AuthenticationError("Authentication required."), Fault.REFUSED),
        (exceptions.AuthenticationError("invalid username-password pair"), Fault.REFUSED),
        (exceptions.NoPermissionError("User x has no permissions"), Fault.REFUSED),
        (exceptions.ResponseError(INSIDE_A_SCRIPT + "NOPERM this user"), Fault.REFUSED),
        (exceptions.ClusterCrossSlotError("Keys in request don't hash"), Fault.FATAL),
        (exceptions.MovedError("3999 127.0.0.1:6381"), Fault.FATAL),
        (exceptions.ResponseError("MOVED 3999 127.0.0.1:6381"), Fault.FATAL),
        (exceptions.ResponseError("unknown command 'EVALSHA'"), Fault.FATAL),
    ],
)
def test_error_is_told_by_class_or_text(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault
    told = to_broker_error(error, "here:1")
    expected = {
        Fault.PASSING: BrokerUnavailable,
        Fault.FULL: BrokerFull,
        Fault.REFUSED: BrokerError,
        Fault.FATAL: BrokerError,
    }
    assert isinstance(told, expected[fault])
    assert isinstance(told, BrokerUnavailable) is (fault is Fault.PASSING)
    assert "here:1" in str(told)


@pytest.mark.parametrize(
    "text",
    [
        "ACL failure in script: User x has no permissions to run the 'zcount' command script: 0",
        "The user executing the script can't run this command or subcommand script: 0123",
        INSIDE_A_SCRIPT[:-1]
        + "The user executing the script can't access at least one of the keys",
    ],
)
def test_what_a_user_may_not_do_in_a_script_is_told_like_any_other(text: str) -> None:
    told = to_broker_error(exceptions.ResponseError(text), "here:1")
    assert "does not let this user do that" in str(told)


class Answers:
    """A server that answers HELLO and INFO as it is told."""

    def __init__(self, *answers: Any) -> None:
        self._answers = [
            Answer(HERE.health, cause=each)
            if isinstance(each, Exception)
            else Answer(HERE.health, each)
            for each in answers
        ]

    def probe(self, *commands: object, node: Node) -> list[Answer]:
        return self._answers


def hello(name: bytes, version: bytes) -> list[Any]:
    return [b"server", name, b"version", version, b"proto", 2]


@pytest.mark.parametrize(
    "name, version",
    [(b"redis", b"6.0.16"), (b"redis", b"5.0"), (b"valkey", b"7.0.9")],
)
def test_server_that_is_too_old_is_named(name: bytes, version: bytes) -> None:
    with pytest.raises(BrokerError, match=r"Redis 6\.2 or Valkey 7\.2") as caught:
        examine(Answers(hello(name, version), b"maxmemory_policy:noeviction"), HERE)
    assert f"{name.decode()} {version.decode()}" in str(caught.value)


def test_server_without_hello_is_too_old() -> None:
    refusal = exceptions.ResponseError("unknown command `HELLO`, with args beginning with:")
    with pytest.raises(BrokerError, match="older than Redis 6"):
        examine(Answers(refusal, b""), HERE)


@pytest.mark.parametrize(
    "name, version", [(b"redis", b"6.2.0"), (b"redis", b"10.1"), (b"valkey", b"7.2.5")]
)
def test_server_that_is_new_enough_is_taken(
    name: bytes, version: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert examine(Answers(hello(name, version), b"maxmemory_policy:noeviction\r\n"), HERE)
    assert examine(Answers(hello(name, version), exceptions.NoPermissionError("no")), HERE)
    assert caplog.records == []


def test_server_that_does_not_answer_is_asked_again() -> None:
    assert not examine(Answers(), HERE)
    assert not examine(Answers(exceptions.AuthenticationError("no"), b""), HERE)


def test_eviction_is_warned_of(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("evicted", object())
    Member(broker)
    Member(broker, "another")
    [warning] = [r.getMessage() for r in caplog.records if "maxmemory" in r.getMessage()]
    assert str(own_server.socket) in warning
    assert "allkeys-lru" in warning
    assert "noeviction" in warning
    broker.close()


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(BrokerError) as caught:
        call()
    assert type(caught.value) is BrokerError
    return str(caught.value)


def test_passwords_and_permissions_are_for_people(own_server: Server) -> None:
    with own_server.client() as client:
        client.acl_setuser("limited", enabled=True, passwords=["+right"], commands=["+hello"])
        client.config_set("requirepass", "secret")
    for login, message in {
        "": "asks for a password",
        "default:wrong@": "refuses the user name or the password",
        "limited:right@": "does not let this user do that",
    }.items():
        broker = RedisBroker.from_url(f"redis://{login}127.0.0.1:{own_server.port}")
        broker.bind("secret", object())
        assert message in refused(lambda b=broker: b.enqueue([deposit()]))
        assert message in refused(lambda b=broker: b.join(QUEUE, "me", Enrolment(lease_ms=30_000)))
        assert message in refused(lambda b=broker: b.counts([QUEUE]))
        assert message in refused(lambda b=broker: b.failed_jobs(QUEUE))
        broker.close()
    broker = RedisBroker.from_url(f"redis://:secret@127.0.0.1:{own_server.port}")
    broker.bind("secret", object())
    assert broker.enqueue([deposit()]) == [True]
    broker.close()


def test_queue_of_another_schema_cannot_be_joined(
    new_broker: Callable[..., RedisBroker], server: Server, namespace: str
) -> None:
    with server.client() as client:
        client.set(f"{{{namespace}/{QUEUE}}}:version", "3")
    broker = new_broker()
    assert "storage version 3" in refused(
        lambda: broker.join(QUEUE, "me", Enrolment(lease_ms=30_000))
    )


def test_restart_of_the_server_is_logged_once_and_loses_nothing(
    own_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "STEADY_SECONDS", 0.0)
    caplog.set_level(logging.INFO, logger="spinach.broker.redis")
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("restarted", object())
    member = Member(broker)
    jobs = [deposit() for _ in range(3)]
    broker.enqueue(jobs)
    [lease] = member.take()
    own_server.stop(kill=True)
    for _ in range(3):
        assert broker.beat([member.turn()])[0].verdict is Verdict.UNKNOWN
        assert member.fetch(block_seconds=1000.0).verdict is Verdict.UNKNOWN
    own_server.start()
    reply = broker.reconcile(member.turn(), [(lease.stored_id, lease.token)])
    assert (reply.verdict, reply.missing, reply.strays) == (Verdict.APPLIED, (), ())
    assert [lease.stored_id for lease in member.take(idle=5)] == [j.stored_id for j in jobs[1:]]
    broker.enqueue([deposit()])
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "is unavailable, retrying" in messages[0]
    assert "is available again" in messages[1]
    broker.close()


def test_producer_gets_over_a_restart(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("restarted", object())
    jobs = [deposit() for _ in range(3)]
    for job in jobs:
        broker.enqueue([job])
        own_server.stop(kill=True)
        own_server.start()
    # The connections of this one broke, which a call of a worker would tell.
    other = RedisBroker.from_url(own_server.unix_url)
    other.bind("restarted", object())
    assert other.counts([QUEUE])[0].ready == 3
    other.close()
    broker.close()


def test_credentials_that_cannot_be_had_for_a_moment_are_waited_for(own_server: Server) -> None:
    class Source(redis.CredentialProvider):
        failures = 2

        def get_credentials(self) -> tuple[str, ...]:
            if self.failures:
                self.failures -= 1
                raise RuntimeError("the vault is sealed")
            return ("default", "any")

    with own_server.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True)
    source = Source()
    broker = RedisBroker(redis.Redis(port=own_server.port, credential_provider=source))
    broker.bind("vault", object())
    reply = broker.beat([Turn(QUEUE, "nobody", 1)])[0]
    assert reply.verdict is Verdict.UNKNOWN
    assert isinstance(reply.error, BrokerUnavailable)
    assert "RuntimeError: the vault is sealed" in str(reply.error)
    assert broker.enqueue([deposit()]) == [True]
    broker.close()


def test_credentials_whose_error_refuses_to_be_shown_are_waited_for(own_server: Server) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Source(redis.CredentialProvider):
        failing = True

        def get_credentials(self) -> tuple[str, ...]:
            if self.failing:
                self.failing = False
                raise Mute
            return ("default", "any")

    with own_server.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True)
    broker = RedisBroker(redis.Redis(port=own_server.port, credential_provider=Source()))
    broker.bind("mute", object())
    reply = broker.beat([Turn(QUEUE, "nobody", 1)])[0]
    assert reply.verdict is Verdict.UNKNOWN
    assert "Mute" in str(reply.error)
    assert broker.enqueue([deposit()]) == [True]
    broker.close()


def test_full_server_is_not_said_to_be_away(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="spinach.broker.redis")
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("full", object())
    member = Member(broker, periodic={TASK: 1})
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        until(lambda: bool(broker.tick(QUEUE, [TASK]).due), "a tick", 10)
        [tick] = broker.tick(QUEUE, [TASK]).due
        for _ in range(3):
            assert isinstance(broker.fire(QUEUE, TASK, tick.due_ms, deposit()).error, BrokerFull)
            assert broker.beat([member.turn()])[0].verdict is Verdict.APPLIED
    assert caplog.records == []
    broker.close()
