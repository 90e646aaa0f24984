"""Enqueues jobs exactly once over connections that break.

A chunk of jobs goes out under (session, number), and the server applies a number once
(I2). So a chunk whose answer was lost is sent again under the same number, until it is
answered or the deadline is over. Numbers never change hands: a copy of a request may
still lie in a connection that was given up, and must find its number taken.

The life of a chunk: it gets a number when it is first sent; OK ends it; GAP, which
means that an earlier number is missing, and passing errors leave it to the next round;
the loss of the session's last number on the server gives it a number of a new session.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable, ScheduleUncertain
from spinach.record.ids import job_id_of
from spinach.support.realtime import time
from spinach_redis import keys, requests
from spinach_redis.client.deadline import Deadline, Tries
from spinach_redis.client.errors import Fault, fault_of, to_broker_error
from spinach_redis.client.link import Command, LinkPool
from spinach_redis.client.router import Answer, Router
from spinach_redis.topology.settings import CALL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.brokers.calls import Deposit
    from spinach_redis.client.link import Call, Request
    from spinach_redis.topology.topology import Topology

__all__ = ["Producer"]

#: Bounds of a chunk.
CHUNK_JOBS: Final = 500
CHUNK_BYTES: Final = 1024 * 1024

#: Bounds of what is on its way at once: chunks, and their bytes.
IN_FLIGHT: Final = 32
IN_FLIGHT_BYTES: Final = 4 * CHUNK_BYTES

#: Connections that are kept for the next callers. More of them, as a crowd of threads that
#: schedule at one moment leaves behind, are closed.
MOST_IDLE: Final = 32

#: The server forgets a session's last number after this time, in ms.
SESSION_LIFE_MS: Final = 10 * 60 * 1000

#: A session unused for this long, in seconds, is given up before the server may have
#: forgotten it.
SESSION_IDLE_SECONDS: Final = 5 * 60.0


class _Session:
    """The numbers of one connection's chunks for one queue."""

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


class _Line:
    """Connections, one a node, with their sessions; one caller at a time."""

    def __init__(self, topology: Topology, replicas: int) -> None:
        self.router = Router(topology, LinkPool(), replicas)
        self.sessions: dict[str, _Session] = {}

    def number(self, chunk: _Chunk) -> None:
        """Give the chunk a number, unless it has one."""
        if chunk.number:
            return
        now = time.monotonic()
        session = self.sessions.get(chunk.queue)
        if session is None or now - session.used_at > SESSION_IDLE_SECONDS:
            session = self.sessions[chunk.queue] = _Session()
        session.used_at = now
        session.number += 1
        chunk.session, chunk.number = session.name, session.number
        chunk.sent_at = _clocks()


class Producer:
    """Enqueues for any number of threads, each with connections of its own.

    Args:
        topology: says where to.
        offset: the clock offset in ms, as text.
        keys_of: the keys of a queue.
        replicas: how many shall have a job before it counts as stored.
        deadline_seconds: how long one call tries, anew from each part of a batch that is stored.
    """

    def __init__(
        self,
        topology: Topology,
        offset: Callable[[], str],
        keys_of: Callable[[str], keys.QueueKeys],
        *,
        deadline_seconds: float,
        replicas: int = 0,
    ) -> None:
        self.topology = topology
        self._replicas = replicas
        self.offset = offset
        self.keys_of = keys_of
        self.deadline_seconds = deadline_seconds
        # Both without a lock: a call that is nested in another one, as that of a signal
        # handler, would wait for it in vain.
        self._idle: deque[_Line] = deque()
        self._registered: frozenset[str] = frozenset()

    def enqueue(self, namespace: str, deposits: Sequence[Deposit]) -> list[bool]:
        """See `spinach.brokers.base.Broker.enqueue`."""
        chunks = _chunks(deposits)
        attempt = _Attempt(self, namespace, chunks, deposits)
        try:
            line = self._idle.pop()
        except IndexError:
            line = _Line(self.topology, self._replicas)
        try:
            attempt.run(line)
        finally:
            for chunk in chunks:
                if chunk.flags is None and chunk.number:
                    # Its number must not be used for other jobs.
                    line.sessions.pop(chunk.queue, None)
            self._put_back(line)
        answers = [False] * len(deposits)
        for chunk in chunks:
            for position, flag in zip(chunk.positions, chunk.flags or b"", strict=True):
                answers[position] = flag == 0x31
        return answers

    def _put_back(self, line: _Line) -> None:
        self._idle.append(line)
        if len(self._idle) > MOST_IDLE:
            self._close_one()

    def unregistered(self, queues: set[str]) -> list[str]:
        """Those of the queues that this process has not put on the list of queues."""
        # Without the lock: who just misses one puts it on the list once more.
        return [] if queues <= self._registered else sorted(queues - self._registered)

    def registered(self, queues: Sequence[str]) -> None:
        """Note that the queues are on the list."""
        # Another set, since this one may be read meanwhile. Of two that are noted at once one
        # may be missed, and is put on the list once more.
        self._registered = self._registered.union(queues)

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        while self._idle:
            self._close_one()

    def _close_one(self) -> None:
        """Give up the connections that were not used for longest."""
        with contextlib.suppress(IndexError):
            self._idle.popleft().router.close()


class _Attempt:
    """One call of `enqueue`, over as many rounds as it needs."""

    def __init__(
        self,
        producer: Producer,
        namespace: str,
        chunks: list[_Chunk],
        deposits: Sequence[Deposit],
    ) -> None:
        self._producer = producer
        self._namespace = namespace
        self._chunks = chunks
        self._deposits = deposits
        seconds = producer.deadline_seconds
        # A batch of any size is stored over a slow line, as long as it gets on.
        self._deadline = Deadline(seconds, renews=len(chunks) > 1)
        self._tries = Tries(self._deadline, producer.topology)
        self._timeout_seconds = min(CALL_TIMEOUT_SECONDS, seconds)

    def run(self, line: _Line) -> None:
        """Send chunks until all are stored.

        Raises:
            BrokerError: a server that refuses, or the deadline.
        """
        while True:
            window = self._window()
            if not window:
                return
            problem = self._round(line, window)
            if problem is None:
                self._tries.succeeded()
                self._deadline.progressed()
                continue
            error, health = problem.reply, problem.health
            pause = self._tries.pause(problem)
            if pause is None:
                raise self._tell(error, health.address) from error
            time.sleep(pause)
            if any(chunk.uncertain and _forgotten(chunk) for chunk in self._chunks):
                # This process stood still meanwhile, and its jobs may be done.
                raise self._tell(error, health.address) from error

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

    def _round(self, line: _Line, window: list[_Chunk]) -> Answer | None:
        """Send some chunks once; what kept one of them from being stored."""
        news = self._producer.unregistered({chunk.queue for chunk in window})
        calls: list[Request] = []
        if news:
            queues = keys.queues_key(self._namespace)
            calls.append(Command(b"SADD", queues, *news, key=queues))
        for chunk in window:
            line.number(chunk)
            calls.append(self._call(chunk))
        end, ahead = self._deadline.end, Deadline(self._deadline.seconds)
        try:
            answers = line.router.send(
                calls, self._timeout_seconds, confirmed=True, deadline=self._deadline
            )
        except BaseException:
            for chunk in window:
                chunk.uncertain = True
            raise
        # Were that refused, the next call would try again; the jobs are what matters.
        if news and not isinstance(answers.pop(0).reply, Exception):
            self._producer.registered(news)
        problem: Answer | None = None
        foreign: tuple[BrokerError, str] | None = None
        answered: set[str] = set()
        # What was heard meanwhile counts if it was that a chunk is stored.
        self._deadline.end = end
        alone = self._producer.topology.only is not None
        admission = self._producer.topology.admission
        for chunk, answer in zip(window, answers, strict=True):
            reply = answer.reply
            if isinstance(reply, Exception):
                chunk.uncertain = chunk.uncertain or answer.uncertain
                if problem is None or fault_of(reply) is not Fault.PASSING:
                    problem = answer
            elif reply[0] == b"OK" and answer.doubt is not None:
                # Stored, but a failover may lose it: sent again it is confirmed again.
                chunk.uncertain = True
                problem = problem or Answer(answer.doubt, answer.health)
            elif reply[0] == b"OK":
                chunk.flags = reply[1]
                chunk.uncertain = False
                answer.health.answered()
                if admission.refused or not admission.let_in:
                    admission.answered(answer.health.address, "")
                if alone:
                    self._deadline.progressed()
                elif len(self._chunks) > 1:
                    # When it was stored is not known: another node may have been waited for.
                    self._deadline.end = max(self._deadline.end, ahead.end)
            elif reply[0] == b"VERSION":
                foreign = version_error(chunk.queue, reply[1]), answer.health.address
            elif chunk.queue not in answered:
                # The first of its queue: no earlier one of ours is missing, so the
                # server lost the session's number and what it had stored with it.
                self._start_over(line, chunk.queue)
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

    def _start_over(self, line: _Line, queue: str) -> None:
        line.sessions.pop(queue, None)
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
        if isinstance(error, BrokerError):
            told: BrokerError = error
        else:
            told = to_broker_error(error, address)
        kind: type[BrokerError] = type(told)
        message = str(told)
        if unknown and kind in (BrokerUnavailable, BrokerFull):
            kind = ScheduleUncertain
            message += f" The fate of {len(unknown)} of {len(self._deposits)} jobs is unknown."
        return kind(message, stored=stored, unknown=unknown, not_sent=not_sent)


def _clocks() -> tuple[float, float]:
    """Seconds on a clock that nobody sets, and on one that goes on while the machine sleeps."""
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
