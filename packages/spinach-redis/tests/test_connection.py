"""What goes over the line, with hiredis and without it."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, MovedError, ResponseError
from redis.exceptions import ConnectionError as ServerDown
from redis.exceptions import TimeoutError as RedisTimeoutError

from spinach.brokers.calls import Verdict
from spinach.support.threads import ServiceThread
from spinach_redis import RedisBroker
from spinach_redis import scripts as script
from spinach_redis.client.client import RedisClient
from spinach_redis.topology.user_settings import settings_of_url
from spinach_redis.transport import connection, sockets
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
    line = connection_with(settings)
    line.open()
    line.send(REQUESTS, asking=asking)
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
    line = connection_with(settings)
    line.open(with_id=True)
    assert line.client_id == 7
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
        line = connection_to(own_server.unix_url, CALL_TIMEOUT_SECONDS)
        line.open(with_id=True)
        listed = next(c for c in client.client_list() if int(c["id"]) == line.client_id)
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
        line = connection_to(own_server.unix_url, CALL_TIMEOUT_SECONDS)
        line.open(with_id=True)
        answers = exchange(
            line,
            Command(b"ECHO", "here"),
            Call(script.BEAT, (b"{a/b}:seq",), ()),
            Command(b"CLIENT", b"KILL", b"ID", line.client_id, b"SKIPME", b"no"),
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
    line = connection_with(settings)
    line.open()
    [answer] = exchange(line, REQUESTS[0], asking=True)
    assert (answer.reply if answer.cause is None else str(answer.cause)) == told


SHORT_SECONDS = 0.2


def opened(server: Server, *, url: str = "", by_kernel: bool = False) -> Connection:
    line = connection_to(url or server.url, SHORT_SECONDS, by_kernel=by_kernel)
    line.open()
    return line


@pytest.fixture(params=[True, False], ids=["the kernel ends waits", "Python ends waits"])
def short_line(own_server: Server, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection that waits for a fifth of a second."""
    line = opened(own_server, by_kernel=request.param and sockets._SUPPORTED)
    yield line
    line.close()


@pytest.mark.skipif(not sockets._SUPPORTED, reason="Python ends all waits here")
def test_kernel_ends_waits_where_it_may(own_server: Server) -> None:
    for url in (own_server.url, own_server.unix_url):
        for by_kernel in (True, False):
            line = opened(own_server, url=url, by_kernel=by_kernel)
            for answered_at in (time.monotonic(), 0.0):
                line._answered_at = answered_at
                line.open()
                assert replies(exchange(line, Command(b"PING"))) == [b"PONG"]
                assert line._socket.gettimeout() == (None if by_kernel else SHORT_SECONDS)
            line.close()


@pytest.mark.skipif(not sockets._SUPPORTED, reason="Python ends all waits here")
def test_engines_own_threads_and_all_others_share_no_connections(own_server: Server) -> None:
    client = RedisClient(settings_of_url(own_server.url))
    ping = Command(b"PING", key=b"x")

    def idle() -> dict[tuple[float, bool], int]:
        [by_timeout] = client.pool._idle.values()
        return {key: len(connections) for key, connections in by_timeout.items()}

    for kind in (ServiceThread, threading.Thread):
        for _ in range(3):
            thread = kind(target=lambda: client.ask(ping))
            thread.start()
            thread.join()
    client.call(ping, repeatable=True)
    assert idle() == {(CALL_TIMEOUT_SECONDS, True): 1, (CALL_TIMEOUT_SECONDS, False): 1}
    client.close()
    assert set(idle().values()) == {0}


def test_client_in_a_hurry_leaves_the_next_caller_the_whole_timeout(own_server: Server) -> None:
    line = connection_to(own_server.url, 60.0)
    line.open(deadline=Deadline(0.5))
    assert replies(exchange(line, Command(b"PING"))) == [b"PONG"]
    assert line._socket.gettimeout() < 1.0
    line.open()
    assert replies(exchange(line, Command(b"PING"))) == [b"PONG"]
    assert line._socket.gettimeout() == 60.0
    line.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals for threads here")
@pytest.mark.parametrize("on_main", [True, False])
def test_signals_do_not_prolong_the_wait_of_a_producer(own_server: Server, on_main: bool) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    line, over, broken = opened(own_server), threading.Event(), []

    def ping() -> None:
        line.open()
        own_server.freeze()
        broken.extend(causes(exchange(line, Command(b"PING"))))
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
        line.close()
    assert isinstance(broken[0], RedisTimeoutError)


def test_sockets_of_other_kinds_keep_their_timeouts() -> None:
    class Green(socket.socket):
        """As a library has it that replaces sockets."""

    class Strict(socket.socket):
        """Of a kernel that knows no such option."""

        def setsockopt(self, *_: Any) -> None:
            raise OSError("not here")

    Strict.__module__ = "socket"
    for kind in (Green, Strict):
        with kind() as sock:
            sock.settimeout(1.0)
            assert not sockets.bind_to_kernel(sock, SHORT_SECONDS)
            assert sock.gettimeout() == 1.0


def test_end_of_a_connection_is_no_timeout_whatever_the_caller_handles(
    own_server: Server, short_line: Connection
) -> None:
    with own_server.client() as client:
        client.client_kill_filter(skipme=True)
    try:
        raise BlockingIOError
    except BlockingIOError:
        answers = exchange(short_line, Command(b"PING"))
    [cause] = causes(answers)
    assert not isinstance(cause, RedisTimeoutError)


@pytest.mark.parametrize("size", [10, sockets.MOST_SENT_AT_ONCE + 1, 64 * 1024 * 1024])
def test_server_that_stands_still_ends_a_call_in_time(
    own_server: Server, short_line: Connection, size: int
) -> None:
    own_server.freeze()
    answers = exchange(short_line, Command(b"ECHO", b"x" * size))
    own_server.thaw()
    assert [type(cause) for cause in causes(answers)] == [RedisTimeoutError]


@pytest.mark.skipif(not sockets._SUPPORTED, reason="Python ends all waits here")
@pytest.mark.parametrize("size, bound", [(10, None), (sockets.MOST_SENT_AT_ONCE, SHORT_SECONDS)])
def test_one_bound_holds_for_all_parts_of_a_large_request(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, size: int, bound: float | None
) -> None:
    line = opened(own_server, by_kernel=True)
    bounds: list[float | None] = []
    send = line._connection.send_packed_command

    def noted(packed: Any) -> None:
        bounds.append(line._socket.gettimeout())
        send(packed)

    monkeypatch.setattr(line._connection, "send_packed_command", noted)
    assert causes(exchange(line, Command(b"ECHO", b"x" * size))) == []
    assert bounds == [bound]
    assert line._socket.gettimeout() is None
    line.close()


def test_call_after_a_large_request_ends_in_time(
    own_server: Server, short_line: Connection
) -> None:
    large = exchange(short_line, Command(b"ECHO", b"x" * 10 * sockets.MOST_SENT_AT_ONCE))
    assert causes(large) == []
    own_server.freeze()
    answers = exchange(short_line, Command(b"PING"))
    own_server.thaw()
    assert [type(cause) for cause in causes(answers)] == [RedisTimeoutError]


def test_line_whose_server_hung_up_meanwhile_is_made_anew(
    own_server: Server, short_line: Connection
) -> None:
    old = short_line._socket
    with own_server.client() as client:
        client.client_kill_filter(skipme=True)
    # Long enough ago that it is looked at.
    short_line._answered_at = 0.0
    short_line.open()
    assert short_line._socket is not old
    assert replies(exchange(short_line, Command(b"PING"))) == [b"PONG"]


def test_line_that_is_alive_is_kept(short_line: Connection) -> None:
    old = short_line._socket
    short_line._answered_at = 0.0
    short_line.open()
    assert short_line._socket is old


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no files there")
def test_request_that_python_may_wait_with_is_sent_without_asking_the_kernel_first(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = opened(own_server)
    rests: list[int] = []
    send = line._connection.send_packed_command

    def noted(packed: Any) -> None:
        rests.append(sum(map(len, packed)))
        send(packed)

    monkeypatch.setattr(line._connection, "send_packed_command", noted)
    assert replies(exchange(line, Command(b"PING"))) == [b"PONG"]
    assert rests == []
    # What the kernel does not take at once follows, and nothing goes out twice.
    large = b"x" * (16 * 1024 * 1024)
    own_server.freeze()
    line.send([Command(b"ECHO", large)])
    own_server.thaw()
    line.close()
    assert len(rests) == 1
    assert 0 < rests[0] < len(large)


@pytest.mark.parametrize("size", [10, 16 * 1024 * 1024])
def test_request_of_any_size_arrives_whole(
    own_server: Server, short_line: Connection, size: int
) -> None:
    short_line.timeout_seconds = 20.0
    short_line.close()
    short_line.open()
    text = random.Random(size).randbytes(size)
    assert replies(exchange(short_line, Command(b"ECHO", text))) == [text]


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no files there")
def test_request_is_not_sent_again_when_a_signal_handler_raises(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = opened(own_server)
    write = os.write

    def interrupted(number: int, data: bytes) -> int:
        write(number, data)
        raise TimeoutError("as a handler of SIGALRM has it")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        answers = exchange(line, Command(b"INCR", b"counted"))
    assert [type(cause) for cause in causes(answers)] == [TimeoutError]
    # On a new connection, so that no answer to the one before is taken for its own.
    line.open()
    assert replies(exchange(line, Command(b"INCR", b"counted"))) == [2]
    line.close()
