"""Enqueues jobs exactly once over connections that break.

A chunk of jobs goes out under (session, number), and the server applies a number once (I2). So a
chunk whose answer was lost is sent again under the same number, until it is answered or the
deadline is over. A number is never used for other jobs: a copy of the request may still lie in a
connection that was given up, and must find its number taken.

The life of a chunk: it gets a number when it is first sent. OK ends it. After GAP, which means
that an earlier number is missing, and after an error that passes, it is sent again. Where the
server lost the session's last number, it gets a number of a new session.
"""

from __future__ import annotations

import sys
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable, ScheduleUncertain
from spinach.record.ids import job_id_of
from spinach.support.realtime import time
from spinach_redis import keys, requests
from spinach_redis.client.client import MOST_IDLE
from spinach_redis.transport.command import Command
from spinach_redis.transport.deadline import Deadline
from spinach_redis.transport.errors import Fault, fault_of, to_broker_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.brokers.calls import Deposit
    from spinach_redis.client.client import RedisClient
    from spinach_redis.client.retry import Retry
    from spinach_redis.transport.command import Call, Request
    from spinach_redis.transport.connection import Answer

__all__ = ["Producer"]

#: Bounds of a chunk.
CHUNK_JOBS: Final = 500
CHUNK_BYTES: Final = 1024 * 1024

#: Bounds of what is sent before answers are read: chunks, and their bytes.
IN_FLIGHT: Final = 32
IN_FLIGHT_BYTES: Final = 4 * CHUNK_BYTES

#: The server forgets a session's last number after this time, in ms.
SESSION_LIFE_MS: Final = 10 * 60 * 1000

#: A session that was not used for this time, in seconds, is given up, before the server may
#: have forgotten it.
SESSION_IDLE_SECONDS: Final = 5 * 60.0


class _Session:
    """The numbers of chunks for one queue, of one caller at a time."""

    __slots__ = ("name", "number", "used_at")

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        #: Last number given to a chunk.
        self.number = 0
        self.used_at = time.monotonic()


@dataclass(slots=True, eq=False)
class _Chunk:
    """Jobs of one queue that are stored together."""

    queue: str
    #: Positions in the caller's sequence.
    positions: list[int] = field(default_factory=list)
    args: list[bytes | str] = field(default_factory=list)
    size: int = 0
    session: str = ""
    number: int = 0
    #: A copy was sent and not answered.
    uncertain: bool = False
    #: When it was first sent under its number; see `_clocks`.
    sent_at: tuple[float, float] | None = None
    #: One character a job once it is stored.
    flags: bytes | None = None


#: By queue.
_Sessions = dict[str, _Session]


def _number(chunk: _Chunk, sessions: _Sessions) -> None:
    """Give the chunk a number, unless it has one."""
    if chunk.number:
        return
    now = time.monotonic()
    session = sessions.get(chunk.queue)
    if session is None or now - session.used_at > SESSION_IDLE_SECONDS:
        session = sessions[chunk.queue] = _Session()
    session.used_at = now
    session.number += 1
    chunk.session, chunk.number = session.name, session.number
    chunk.sent_at = _clocks()


class Producer:
    """Enqueues for any number of threads, each with sessions of its own.

    Args:
        client: sends the calls.
        offset: the clock offset in ms, as text.
        keys_of: the keys of a queue.
    """

    def __init__(
        self,
        client: RedisClient,
        offset: Callable[[], str],
        keys_of: Callable[[str], keys.QueueKeys],
    ) -> None:
        self.client = client
        self.offset = offset
        self.keys_of = keys_of
        # Both without a lock: a call that is nested in another one, as that of a signal
        # handler, would wait for it in vain. As many are kept as connections are.
        self._idle: deque[_Sessions] = deque(maxlen=MOST_IDLE)
        self._registered: frozenset[str] = frozenset()

    def enqueue(self, namespace: str, deposits: Sequence[Deposit]) -> list[bool]:
        """See `spinach.brokers.base.Broker.enqueue`."""
        chunks = _chunks(deposits)
        try:
            sessions = self._idle.pop()
        except IndexError:
            sessions = {}
        try:
            _EnqueueCall(self, namespace, chunks, deposits, sessions).run()
        finally:
            for chunk in chunks:
                if chunk.flags is None and chunk.number:
                    # Its number must not be used for other jobs.
                    sessions.pop(chunk.queue, None)
            self._idle.append(sessions)
        answers = [False] * len(deposits)
        for chunk in chunks:
            for position, flag in zip(chunk.positions, chunk.flags or b"", strict=True):
                answers[position] = flag == 0x31
        return answers

    def unregistered(self, queues: set[str]) -> list[str]:
        """Those of the queues that this process has not put on the list of queues."""
        # Without a lock: a queue that is missed here is put on the list once more.
        return [] if queues <= self._registered else sorted(queues - self._registered)

    def registered(self, queues: Sequence[str]) -> None:
        """Note that the queues are on the list."""
        # Another set, since this one may be read meanwhile. Of two that are noted at once one
        # may be missed, and is put on the list once more.
        self._registered = self._registered.union(queues)


class _EnqueueCall:
    """One call of `enqueue`, over as many rounds as it needs."""

    def __init__(
        self,
        producer: Producer,
        namespace: str,
        chunks: list[_Chunk],
        deposits: Sequence[Deposit],
        sessions: _Sessions,
    ) -> None:
        self._producer = producer
        self._namespace = namespace
        self._chunks = chunks
        self._deposits = deposits
        self._sessions = sessions
        # A batch of any size is stored over a slow line, as long as it gets on.
        self._deadline = Deadline(producer.client.client_seconds, renews=len(chunks) > 1)
        # Most calls need none.
        self._retry: Retry | None = None

    def run(self) -> None:
        """Send chunks until all are stored.

        Raises:
            BrokerError: a server that refuses, or the deadline.
        """
        while True:
            window = self._window()
            if not window:
                return
            problem = self._round(window)
            if problem is None:
                if self._retry is not None:
                    self._retry.succeeded()
                self._deadline.progressed()
                continue
            cause, answer = problem
            if self._retry is None:
                self._retry = self._producer.client.retry(self._deadline)
            pause = self._retry.pause(cause, answer)
            if pause is None:
                raise self._tell(cause, answer.health.address) from cause
            time.sleep(pause)
            if any(chunk.uncertain and _forgotten(chunk) for chunk in self._chunks):
                # This process stood still meanwhile, and its jobs may be done.
                raise self._tell(cause, answer.health.address) from cause

    def _window(self) -> list[_Chunk]:
        """The next chunks to send together."""
        window: list[_Chunk] = []
        size = 0
        for chunk in self._chunks:
            if chunk.flags is not None:
                continue
            size += chunk.size
            if window and (len(window) == IN_FLIGHT or size > IN_FLIGHT_BYTES):
                break
            window.append(chunk)
        return window

    def _round(self, window: list[_Chunk]) -> tuple[Exception, Answer] | None:
        """Send some chunks once; what kept one of them from being stored."""
        client = self._producer.client
        news = self._producer.unregistered({chunk.queue for chunk in window})
        calls: list[Request] = []
        if news:
            queues = keys.queues_key(self._namespace)
            calls.append(Command(b"SADD", queues, *news, key=queues))
        for chunk in window:
            _number(chunk, self._sessions)
            calls.append(self._call(chunk))
        end, renewed = self._deadline.end, time.monotonic() + self._deadline.seconds
        try:
            answers = client.send(
                calls, client.client_timeout_seconds, confirmed=True, deadline=self._deadline
            )
        except BaseException:
            for chunk in window:
                chunk.uncertain = True
            raise
        # Were that refused, the next call would try again; the jobs are what matters.
        if news and answers.pop(0).cause is None:
            self._producer.registered(news)
        problem: tuple[Exception, Answer] | None = None
        foreign: tuple[BrokerError, str] | None = None
        answered: set[str] = set()
        # What was heard meanwhile counts if it was that a chunk is stored.
        self._deadline.end = end
        one_node = client.topology.only is not None
        for chunk, answer in zip(window, answers, strict=True):
            cause, reply = answer.cause, answer.reply
            if cause is not None:
                chunk.uncertain = chunk.uncertain or answer.uncertain
                if problem is None or fault_of(cause) is not Fault.PASSING:
                    problem = cause, answer
            elif reply[0] == b"OK" and answer.unconfirmed is not None:
                # Stored, but a failover may lose it: sent again it is confirmed again.
                chunk.uncertain = True
                problem = problem or (answer.unconfirmed, answer)
            elif reply[0] == b"OK":
                chunk.flags = reply[1]
                chunk.uncertain = False
                client.answered(answer)
                if one_node:
                    self._deadline.progressed()
                elif len(self._chunks) > 1:
                    # When it was stored is not known: another node may have been waited for.
                    self._deadline.end = max(self._deadline.end, renewed)
            elif reply[0] == b"VERSION":
                foreign = version_error(chunk.queue, reply[1]), answer.health.address
            elif chunk.queue not in answered:
                # The first of its queue: no earlier one of ours is missing, so the
                # server lost the session's number and what it had stored with it.
                self._start_over(chunk.queue)
            answered.add(chunk.queue)
        if foreign is not None:
            # Not before the fate of the other chunks is known.
            raise self._tell(*foreign)
        return problem

    def _call(self, chunk: _Chunk) -> Call:
        names = self._producer.keys_of(chunk.queue)
        return requests.enqueue(
            names,
            self._producer.offset(),
            chunk.session,
            chunk.number,
            chunk.args,
            life_ms=SESSION_LIFE_MS,
        )

    def _start_over(self, queue: str) -> None:
        self._sessions.pop(queue, None)
        for chunk in self._chunks:
            if chunk.queue == queue and chunk.flags is None:
                chunk.number = 0

    def _tell(self, error: Exception, address: str) -> BrokerError:
        """The error for the caller, with the fate of each job."""
        stored: list[uuid.UUID] = []
        unknown: list[uuid.UUID] = []
        not_sent: list[uuid.UUID] = []
        for chunk in self._chunks:
            fate = stored if chunk.flags is not None else unknown if chunk.uncertain else not_sent
            fate += [uuid.UUID(job_id_of(self._deposits[i].stored_id)) for i in chunk.positions]
        told = to_broker_error(error, address)
        kind: type[BrokerError] = type(told)
        message = str(told)
        if unknown and kind in (BrokerUnavailable, BrokerFull):
            kind = ScheduleUncertain
            message += f" The fate of {len(unknown)} of {len(self._deposits)} jobs is unknown."
        return kind(message, stored=stored, unknown=unknown, not_sent=not_sent)


def _clocks() -> tuple[float, float]:
    """Seconds on a clock that is never set, and on one that goes on while the machine sleeps."""
    if sys.platform == "linux":
        return time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic(), time.time()


def _forgotten(chunk: _Chunk) -> bool:
    """Whether the server may have forgotten the number that a chunk was sent under (I2)."""
    if chunk.sent_at is None:
        return False
    passed = (now - then for now, then in zip(_clocks(), chunk.sent_at, strict=True))
    return max(passed) > SESSION_IDLE_SECONDS


def version_error(queue: str, found: bytes) -> BrokerError:
    """A queue whose keys another release of Spinach wrote in another way."""
    return BrokerError(
        f"Queue {queue!r} has storage version {found.decode('ascii', 'replace')}, this release "
        f"of spinach-redis knows version {keys.SCHEMA.decode()}. "
        "Use the release that wrote it, or another namespace."
    )


def _chunks(deposits: Sequence[Deposit]) -> list[_Chunk]:
    """Deposits by queue, in order, in chunks of bounded size."""
    chunks: list[_Chunk] = []
    open_: dict[str, _Chunk] = {}
    for position, deposit in enumerate(deposits):
        chunk = open_.get(deposit.queue)
        size = len(deposit.record) + len(deposit.stored_id) + 40
        if (
            chunk is None
            or len(chunk.positions) >= CHUNK_JOBS
            or (chunk.positions and chunk.size + size > CHUNK_BYTES)
        ):
            chunk = open_[deposit.queue] = _Chunk(deposit.queue)
            chunks.append(chunk)
        chunk.positions.append(position)
        due = b"" if deposit.due_ms is None else b"%d" % deposit.due_ms
        chunk.args += (deposit.stored_id, deposit.record, due)
        chunk.size += size
    return chunks
