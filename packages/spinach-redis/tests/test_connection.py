"""What goes over a connection, with hiredis and without it."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, MovedError, ResponseError
from redis.exceptions import ConnectionError as ServerDown
from redis.exceptions import TimeoutError as RedisTimeoutError

from spinach.brokers.calls import Verdict
from spinach_redis import RedisBroker
from spinach_redis import scripts as script
from spinach_redis.topology.user_settings import settings_of_url
from spinach_redis.transport import connection
from spinach_redis.transport.command import Call, Command
from spinach_redis.transport.connection import Connection
from spinach_redis.transport.deadline import Deadline
from spinach_redis.transport.health import Health
from spinach_redis.transport.settings import CALL_TIMEOUT_SECONDS

from .connections import causes, connection_to, exchange, replies
from .jobs import Member, deposit, success
from .servers import Server

REQUESTS = (
    Call(script.REPORT, (b"{a/b}:jobs", b"{a/b}:ready"), ("0", 12, b"\x00\r\n", "", "größer")),
    Command(b"WAIT", 1, -5),
)


class _Socket:
    """Of no kind that Spinach knows."""

    def gettimeout(self) -> float:
        return CALL_TIMEOUT_SECONDS


class _Recording:
    """In place of a connection of redis-py; packs as one, and keeps what is sent."""

    def __init__(self, real: Any) -> None:
        self._sock = _Socket()
        self.pack_commands = real.pack_commands
        self.sent: list[bytes] = []
        self.answers: list[object] = []

    def connect(self) -> None:
        pass

    def disconnect(self) -> None:
        pass

    def read_response(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send_packed_command(self, packed: Any) -> None:
        self.sent += packed


class _Settings:
    """In place of `ConnectionSettings`."""

    address = "nowhere"

    def __init__(self, connection: Any, introduction: Sequence[tuple[str, ...]] = ()) -> None:
        self._connection = connection
        self.introduction = introduction

    def connection(self, _timeout_seconds: float, _deadline: object = None) -> Any:
        return self._connection


def connection_with(settings: Any) -> Connection:
    """A connection to a server that need not be asked whether it is one."""
    health = Health(settings.address)
    health.genuine = True
    return Connection(settings, health, CALL_TIMEOUT_SECONDS)


def bytes_of_requests(server: Server, *, asking: bool) -> bytes:
    with server.client() as client:
        recording = _Recording(client.connection_pool.make_connection())
    settings: Any = _Settings(recording)
    conn = connection_with(settings)
    conn.open()
    conn.send(REQUESTS, asking=asking)
    return b"".join(recording.sent)


@pytest.fixture
def without_hiredis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PACK", None)


@pytest.mark.parametrize("asking", [False, True])
def test_same_bytes_are_sent_with_hiredis_and_without(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, asking: bool
) -> None:
    with_it = bytes_of_requests(own_server, asking=asking)
    monkeypatch.setattr(connection, "_PACK", None)
    assert bytes_of_requests(own_server, asking=asking) == with_it
    assert b"\r\n$7\r\nEVALSHA\r\n" in with_it
    assert with_it.count(b"ASKING") == (len(REQUESTS) if asking else 0)


def test_connection_introduces_itself_in_one_packet_before_the_first_call(
    own_server: Server,
) -> None:
    with own_server.client() as client:
        recording = _Recording(client.connection_pool.make_connection())
    introduction = [("CLIENT", "SETINFO", part, "it") for part in ("LIB-NAME", "LIB-VER")]
    recording.answers = [ResponseError("unknown subcommand"), b"OK", 7]
    settings: Any = _Settings(recording, introduction)
    conn = connection_with(settings)
    conn.open(with_id=True)
    assert conn.client_id == 7
    [packet] = recording.sent
    assert [packet.count(word) for word in (b"SETINFO", b"ID\r\n", b"EVALSHA")] == [2, 1, 0]
    assert not recording.answers


@pytest.mark.parametrize("answer", [ServerDown("closed"), AuthenticationError("NOAUTH")])
def test_server_that_takes_no_introduction_gets_no_call(
    own_server: Server, answer: Exception
) -> None:
    with own_server.client() as client:
        recording = _Recording(client.connection_pool.make_connection())
    recording.answers = [answer]
    settings: Any = _Settings(recording, [("CLIENT", "SETINFO", "LIB-NAME", "it")])
    with pytest.raises(type(answer)):
        connection_with(settings).open()
    assert len(recording.sent) == 1


def test_server_lists_the_library_of_each_connection(own_server: Server) -> None:
    with own_server.client() as client:
        told = {value for *_, value in settings_of_url(own_server.unix_url).introduction}
        conn = connection_to(own_server.unix_url, CALL_TIMEOUT_SECONDS)
        conn.open(with_id=True)
        listed = next(c for c in client.client_list() if int(c["id"]) == conn.client_id)
    assert len(told) == 2
    assert {listed["lib-name"], listed["lib-ver"]} == told


def test_connection_that_may_not_introduce_itself_works_all_the_same(own_server: Server) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "shy", "on", ">secret", "~*", "+@all", "-client|setinfo"
        )
        shy = own_server.unix_url.replace("unix://", "unix://shy:secret@")
        broker = RedisBroker.from_url(shy)
        broker.bind("plain", object())
        broker.enqueue([deposit()])
        leases = Member(broker).take()
        assert broker.report([success(lease) for lease in leases]).verdicts == (Verdict.APPLIED,)
        broker.close()
        refused = {entry["object"] for entry in client.acl_log()}
    assert refused == {"client|setinfo"}


@pytest.mark.usefixtures("without_hiredis")
def test_jobs_go_round_without_hiredis(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("plain", object())
    broker.enqueue([deposit()])
    leases = Member(broker).take()
    assert broker.report([success(lease) for lease in leases]).verdicts == (Verdict.APPLIED,)
    broker.close()


def test_script_that_a_server_forgot_before_it_hung_up_has_no_answer(own_server: Server) -> None:
    with own_server.client() as client:
        conn = connection_to(own_server.unix_url, CALL_TIMEOUT_SECONDS)
        conn.open(with_id=True)
        answers = exchange(
            conn,
            Command(b"ECHO", "here"),
            Call(script.BEAT, (b"{a/b}:seq",), ()),
            Command(b"CLIENT", b"KILL", b"ID", conn.client_id, b"SKIPME", b"no"),
            Command(b"PING"),
        )
        assert client.ping()
    assert [answer.uncertain for answer in answers] == [False, True, True, True]
    assert replies(answers) == [b"here"]
    assert len(causes(answers)) == 3


class _Answering(_Recording):
    """Answers with what it is given."""

    def __init__(self, real: Any, answers: list[object]) -> None:
        super().__init__(real)
        self._answers = iter(answers)

    def read_response(self) -> object:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([b"OK", b"done"], b"done"),
        ([ResponseError("BUSY"), MovedError("1 there:1")], "BUSY"),
        # Refused, and served all the same, since the key came here meanwhile.
        ([ResponseError("BUSY"), b"done"], b"done"),
    ],
)
def test_refused_asking_is_an_answer_to_what_it_was_asked_for(
    own_server: Server, answers: list[object], told: object
) -> None:
    with own_server.client() as client:
        answering = _Answering(client.connection_pool.make_connection(), answers)
    settings: Any = _Settings(answering)
    conn = connection_with(settings)
    conn.open()
    [answer] = exchange(conn, REQUESTS[0], asking=True)
    assert (answer.reply if answer.cause is None else str(answer.cause)) == told


SHORT_SECONDS = 0.2


def opened(server: Server) -> Connection:
    conn = connection_to(server.url, SHORT_SECONDS)
    conn.open()
    return conn


@pytest.fixture
def short_connection(own_server: Server) -> Iterator[Connection]:
    """A connection that waits for a fifth of a second."""
    conn = opened(own_server)
    yield conn
    conn.close()


def test_client_in_a_hurry_leaves_the_next_caller_the_whole_timeout(own_server: Server) -> None:
    conn = connection_to(own_server.url, 60.0)
    conn.open(deadline=Deadline(0.5))
    assert replies(exchange(conn, Command(b"PING"))) == [b"PONG"]
    assert conn._socket.gettimeout() < 1.0
    conn.open()
    assert replies(exchange(conn, Command(b"PING"))) == [b"PONG"]
    assert conn._socket.gettimeout() == 60.0
    conn.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals for threads here")
@pytest.mark.parametrize("on_main", [True, False])
def test_signals_do_not_prolong_the_wait_of_a_producer(own_server: Server, on_main: bool) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    conn, over, broken = opened(own_server), threading.Event(), []

    def ping() -> None:
        conn.open()
        own_server.freeze()
        broken.extend(causes(exchange(conn, Command(b"PING"))))
        over.set()

    def disturb(thread: int | None) -> None:
        while thread is not None and not over.wait(0.02):
            signal.pthread_kill(thread, signal.SIGALRM)

    other = threading.Thread(
        target=disturb if on_main else ping, args=(threading.get_ident(),) if on_main else ()
    )
    other.start()
    try:
        ping() if on_main else disturb(other.ident)
    finally:
        other.join()
        signal.signal(signal.SIGALRM, before)
        own_server.thaw()
        conn.close()
    assert isinstance(broken[0], RedisTimeoutError)


def test_end_of_a_connection_is_no_timeout_whatever_the_caller_handles(
    own_server: Server, short_connection: Connection
) -> None:
    with own_server.client() as client:
        client.client_kill_filter(skipme=True)
    try:
        raise BlockingIOError
    except BlockingIOError:
        answers = exchange(short_connection, Command(b"PING"))
    [cause] = causes(answers)
    assert not isinstance(cause, RedisTimeoutError)


@pytest.mark.parametrize("size", [10, 64 * 1024 * 1024])
def test_server_that_stands_still_ends_a_call_in_time(
    own_server: Server, short_connection: Connection, size: int
) -> None:
    own_server.freeze()
    answers = exchange(short_connection, Command(b"ECHO", b"x" * size))
    own_server.thaw()
    assert [type(cause) for cause in causes(answers)] == [RedisTimeoutError]


def test_call_after_a_large_request_ends_in_time(
    own_server: Server, short_connection: Connection
) -> None:
    large = exchange(short_connection, Command(b"ECHO", b"x" * 160 * 1024))
    assert causes(large) == []
    own_server.freeze()
    answers = exchange(short_connection, Command(b"PING"))
    own_server.thaw()
    assert [type(cause) for cause in causes(answers)] == [RedisTimeoutError]


def test_connection_whose_server_hung_up_meanwhile_is_made_anew(
    own_server: Server, short_connection: Connection
) -> None:
    old = short_connection._socket
    with own_server.client() as client:
        client.client_kill_filter(skipme=True)
    # Long enough ago that it is looked at.
    short_connection._answered_at = 0.0
    short_connection.open()
    assert short_connection._socket is not old
    assert replies(exchange(short_connection, Command(b"PING"))) == [b"PONG"]


def test_connection_that_is_alive_is_kept(short_connection: Connection) -> None:
    old = short_connection._socket
    short_connection._answered_at = 0.0
    short_connection.open()
    assert short_connection._socket is old


@pytest.mark.parametrize("size", [10, 16 * 1024 * 1024])
def test_request_of_any_size_arrives_whole(
    own_server: Server, short_connection: Connection, size: int
) -> None:
    short_connection.timeout_seconds = 20.0
    short_connection.close()
    short_connection.open()
    text = random.Random(size).randbytes(size)
    assert replies(exchange(short_connection, Command(b"ECHO", text))) == [text]


def test_request_is_not_sent_again_when_a_signal_handler_raises(own_server: Server) -> None:
    conn = opened(own_server)

    class Interrupted:
        """The socket, in the moment in which a handler of SIGALRM raises."""

        def __init__(self, sock: Any) -> None:
            self._sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def sendall(self, data: bytes) -> None:
            self._sock.sendall(data)
            raise TimeoutError("as a handler of SIGALRM has it")

    conn._connection._sock = Interrupted(conn._connection._sock)
    answers = exchange(conn, Command(b"INCR", b"counted"))
    assert [type(cause) for cause in causes(answers)] == [RedisTimeoutError]
    # On a new connection, so that no answer to the one before is taken for its own.
    conn.open()
    assert replies(exchange(conn, Command(b"INCR", b"counted"))) == [2]
    conn.close()
