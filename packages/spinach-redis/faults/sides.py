"""Two brokers that are asked the same, and a model for each of them.

A call goes to the broker and to its model; what the two answer has to be equal, but for
tokens, which only the broker knows.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from redis import Redis

from spinach.backoff import RandomSource
from spinach.brokers.base import Broker
from spinach.brokers.calls import (
    Cursor,
    Deposit,
    Enrolment,
    FailedPortion,
    FetchTurn,
    Turn,
    Verdict,
)
from spinach.brokers.operating import Purgeable
from spinach.clock import to_ms
from spinach.const import BLOCK_SECONDS
from spinach.outcome import Failure, Lease, Outcome, OutcomeKind
from spinach.record.header import read_header
from spinach.record.options import keep_ms_of
from spinach.retention import FailedRetention
from spinach_memory import MemoryBroker, MemoryStore
from spinach_memory import failed as memory_failed
from spinach_redis import RedisBroker, requests
from spinach_redis import scripts as script
from spinach_testing.clock import VirtualClock

from ..tests.servers import Server
from . import ledger
from .entries import End, Leased
from .steered import SteeredQueue

__all__ = [
    "ERRORS",
    "MemorySide",
    "RedisSide",
    "Side",
    "portions_are_small",
    "server_time_stands_still",
]

NAMESPACE = "model"
ERRORS = ("builtins.ValueError", "builtins.KeyError")
RESULT = b'{"sent":true}'

#: Failed jobs that one call looks at, for the model.
PORTION = 2

#: What the broker of a process says that the failed store keeps.
RETENTION = {
    "bob": FailedRetention(number=4, age=timedelta(seconds=45)),
    "cleo": FailedRetention(size=700),
}


@contextmanager
def server_time_stands_still() -> Iterator[None]:
    """For the block the scripts take the clock offset alone for the server's time.

    So that instants are equal to the ms, and two that coincide in memory do so there.
    """
    reading = b"local time = call('TIME')"
    kept = [(each, each.parts, each.sha) for each in script.SCRIPTS]
    for each, parts, _ in kept:
        assert each.text.count(reading) == 1, each
        each.parts = tuple(part.replace(reading, b"local time = {0, 0}") for part in parts)
        each.sha = hashlib.sha1(each.text, usedforsecurity=False).hexdigest().encode()
    try:
        yield
    finally:
        for each, parts, sha in kept:
            each.parts, each.sha = parts, sha


@contextmanager
def portions_are_small() -> Iterator[None]:
    """For the block a call looks at `PORTION` failed jobs, so that a few are several portions."""
    kept = requests.FAILED_CHUNK, memory_failed.FAILED_CHUNK
    assert kept[0] == kept[1]
    requests.FAILED_CHUNK = memory_failed.FAILED_CHUNK = PORTION  # type: ignore[misc]
    try:
        yield
    finally:
        requests.FAILED_CHUNK, memory_failed.FAILED_CHUNK = kept  # type: ignore[misc]


class Side(ABC):
    """A broker of each process on one store, and the model of its queues.

    Args:
        clock: of the test; whole milliseconds.
        new_broker: makes a further process, which says what the failed store keeps.
    """

    def __init__(
        self, clock: VirtualClock, new_broker: Callable[[FailedRetention], Broker]
    ) -> None:
        self._clock = clock
        self._new_broker = new_broker
        self._brokers: dict[str, Broker] = {}
        self._queues: dict[str, SteeredQueue] = {}
        #: Of the model's leases those that the broker gave, by queue and serial.
        self._leases: dict[tuple[str, int], Lease] = {}

    def broker(self, process: str = "client") -> Broker:
        """Of a process."""
        if process not in self._brokers:
            retention = RETENTION.get(process, FailedRetention())
            broker = self._brokers[process] = self._new_broker(retention)
            broker.bind(NAMESPACE, object())
        return self._brokers[process]

    def queue(self, name: str) -> SteeredQueue:
        """The model of a queue, at this instant."""
        queue = self._queues.setdefault(name, SteeredQueue(name))
        queue.now_ms = to_ms(self._clock.now())
        return queue

    def task_of(self, lease: tuple[str, int]) -> str:
        """Of a lease that was given, by queue and serial."""
        return read_header(self._leases[lease].record).task

    # -- calls -------------------------------------------------------------

    def enqueue(self, deposits: list[Deposit]) -> None:
        expected = [self.queue(each.queue).enqueue(each) for each in deposits]
        assert self.broker().enqueue(deposits) == expected

    def join(self, process: str, queue: str, member: str, enrolment: Enrolment) -> Verdict:
        reply = self.broker(process).join(queue, member, enrolment)
        retention = self.broker(process).failed_retention
        expected = self.queue(queue).join(member, enrolment, retention)
        assert (reply.verdict, reply.next_due_in_ms) == expected
        return reply.verdict

    def fetch(
        self,
        process: str,
        turns: list[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        waits: bool = False,
    ) -> list[tuple[str, int]]:
        """Queue and serial of each lease that was given.

        A wait is over at once: by what there is to take, or else it is not begun.
        """
        broker = self.broker(process)
        if waits and not any(self.queue(turn.queue).more(turn.parks) for turn in turns):
            broker.interrupt()
        began = time.monotonic()
        replies = broker.fetch(
            turns, idle=idle, extra=extra, max_bytes=max_bytes,
            block_seconds=BLOCK_SECONDS if waits else 0.0,
        )  # fmt: skip
        assert time.monotonic() - began < BLOCK_SECONDS, "nobody was woken (I14)"
        given: list[tuple[str, int]] = []
        taken = 0
        for turn, reply in zip(turns, replies, strict=True):
            model = self.queue(turn.queue)
            assert reply.verdict is model.admit(turn.member, turn.number)
            if reply.verdict is not Verdict.APPLIED:
                assert reply.leases == ()
                continue
            leases = model.take(
                turn.member,
                turn.parks,
                idle=idle - taken,
                want=idle + extra - taken,
                max_bytes=max_bytes,
            )
            taken += len(leases)
            self._receive(turn, leases, reply.leases)
            given += [(turn.queue, lease.serial) for lease in leases]
            count = None if leases else len(model.owned(turn.member))
            assert reply.lease_count == count
            assert reply.more is model.more(turn.parks)
            assert reply.paused is model.paused
            assert set(reply.parks) == (set() if model.paused else set(model.parked))
            assert reply.next_due_in_ms == model.keep_time(turn.member)
            self._name(model, turn, reply.dead)
        return given

    def _receive(self, turn: Turn, expected: list[Leased], given: tuple[Lease, ...]) -> None:
        assert [self._shape(lease) for lease in given] == [
            (
                *(turn.queue, turn.member, each.job.stored_id, each.direct, each.job.record),
                *(each.job.retries, each.job.losses),
            )
            for each in expected
        ]
        for each, lease in zip(expected, given, strict=True):
            assert lease.token not in {
                other.token
                for other in self._leases.values()
                if other.stored_id == lease.stored_id and other.queue == lease.queue
            }
            self._leases[turn.queue, each.serial] = lease

    @staticmethod
    def _shape(lease: Lease) -> tuple[object, ...]:
        return (
            *(lease.queue, lease.member, lease.stored_id, lease.direct, lease.record),
            *(lease.retries, lease.losses),
        )

    def _name(self, model: SteeredQueue, turn: Turn, dead: str | None) -> None:
        candidates = model.nameable(turn.member)
        assert dead in candidates if candidates else dead is None
        if dead is not None:
            model.named(dead)

    def beat(self, process: str, turns: list[Turn]) -> None:
        for turn, reply in zip(turns, self.broker(process).beat(turns), strict=True):
            model = self.queue(turn.queue)
            assert reply.verdict is model.known(turn.member)
            if reply.verdict is Verdict.APPLIED:
                model.beat(turn.member)
                self._name(model, turn, reply.dead)
                assert {each for each, _ in reply.cancelled} == model.cancelled(turn.member)
                assert len(reply.cancelled) == len(model.cancelled(turn.member))

    def reconcile(self, process: str, turn: Turn, held: list[tuple[str, int]]) -> None:
        """`held` are serials in any queue; those of another one are strays."""
        pairs = [(lease.stored_id, lease.token) for lease in map(self._leases.__getitem__, held)]
        reply = self.broker(process).reconcile(turn, pairs)
        model = self.queue(turn.queue)
        assert reply.verdict is model.admit(turn.member, turn.number)
        if reply.verdict is not Verdict.APPLIED:
            return
        model.beat(turn.member)
        owned = [(turn.queue, lease.serial) for lease in model.owned(turn.member)]
        assert reply.missing == tuple(self._leases[each] for each in owned if each not in held)
        strays = [pair for pair, each in zip(pairs, held, strict=True) if each not in owned]
        assert list(reply.strays) == strays

    def leave(self, process: str, turn: Turn) -> Verdict:
        reply = self.broker(process).leave(turn)
        model = self.queue(turn.queue)
        expected = model.admit(turn.member, turn.number)
        if expected is Verdict.APPLIED:
            expected = model.leave(turn.member)
        assert reply.verdict is expected
        return reply.verdict

    def report(self, process: str, ends: list[tuple[tuple[str, int], OutcomeKind, int]]) -> None:
        """Lease, kind, and a number of ms.

        For RETRY it is the delay; at an odd one the instant is told. For FAILED it chooses the
        error.
        """
        outcomes, told = [], []
        for each, kind, ms in ends:
            lease = self._leases[each]
            keep_ms = keep_ms_of(lease.record)
            retry, failed = kind is OutcomeKind.RETRY, kind is OutcomeKind.FAILED
            succeeded = kind is OutcomeKind.SUCCEEDED
            end = End(
                kind=kind,
                serial=each[1],
                due_ms=self.queue(lease.queue).now_ms + ms,
                failure=Failure(error=ERRORS[ms % 2], message="no such address")
                if failed
                else None,
                result=RESULT if succeeded and keep_ms is not None else None,
            )
            outcomes.append(
                Outcome(
                    kind,
                    lease,
                    self.task_of(each),
                    delay_ms=ms if retry and ms % 2 == 0 else None,
                    at_ms=end.due_ms if retry and ms % 2 else None,
                    failure=end.failure,
                    keep_ms=keep_ms,
                    result=end.result,
                )
            )
            told.append((lease.queue, end))
        verdicts = {
            name: iter(self.queue(name).report([end for queue, end in told if queue == name]))
            for name in dict.fromkeys(queue for queue, _ in told)
        }
        expected = tuple(next(verdicts[queue]) for queue, _ in told)
        assert self.broker(process).report(outcomes).verdicts == expected

    def tick(self, process: str, queue: str, tasks: tuple[str, ...]) -> list[tuple[str, int]]:
        """The tasks that are due, with their instants."""
        reply = self.broker(process).tick(queue, tasks)
        due, next_ms, next_task_ms = self.queue(queue).tick(tasks)
        assert [(each.task, each.due_ms) for each in reply.due] == due
        assert (reply.next_due_in_ms, reply.next_periodic_in_ms) == (next_ms, next_task_ms)
        return due

    def fire(self, process: str, queue: str, task: str, due_ms: int, deposit: Deposit) -> None:
        reply = self.broker(process).fire(queue, task, due_ms, deposit)
        expected = self.queue(queue).fire(task, due_ms, deposit)
        assert (reply.verdict, reply.next_due_in_ms) == expected

    def recover(self, process: str, queue: str, dead: str) -> bool:
        """Whether it was applied."""
        model = self.queue(queue)
        applies = model.recoverable(dead)
        reply = self.broker(process).recover(queue, dead)
        assert reply.verdict is (Verdict.APPLIED if applies else Verdict.REFUSED)
        if applies:
            lost = model.recover(dead, self.delays_ms(queue))
            assert not reply.more
            assert [(job.stored_id, job.record, job.retries, job.losses) for job in reply.lost] == [
                (job.stored_id, job.record, job.retries, job.losses) for job in lost
            ]
        return applies

    @abstractmethod
    def delays_ms(self, queue: str) -> dict[str, int]:
        """Stored id → ms until it is due, of the jobs that a recovery just made wait."""

    def retry_failed(self, queue: str, stored_ids: list[str]) -> None:
        expected = self.queue(queue).retry_failed(stored_ids)
        assert self.broker().retry_failed(queue, stored_ids) == expected

    def discard_failed(self, queue: str, stored_ids: list[str]) -> None:
        expected = self.queue(queue).discard_failed(stored_ids)
        assert self.broker().discard_failed(queue, stored_ids) == expected

    def cancel(self, queue: str, stored_ids: list[str]) -> None:
        model = self.queue(queue)
        expected = [model.cancel(each) for each in stored_ids]
        replies = self.broker().cancel_jobs(queue, stored_ids)
        assert [reply.verdict for reply in replies] == expected

    def take_portion(self, queue: str, portion: FailedPortion, *, run: bool) -> Cursor | None:
        """Where the next portion begins; None: nothing is left."""
        broker = self.broker()
        reply = (broker.retry_matching if run else broker.discard_matching)(queue, portion)
        expected = self.queue(queue).take_portion(portion, PORTION, run=run)
        assert (reply.count, reply.after) == expected
        return reply.after

    def purge(self, queue: str, status: Purgeable, limit: int) -> None:
        """In as many calls as it takes: a broker may forget fewer jobs in one than it was told."""
        expected = self.queue(queue).purge(status, limit)
        removed, more = 0, True
        while more and removed < limit:
            reply = self.broker().purge(queue, status, limit - removed)
            assert reply.removed <= limit - removed
            removed, more = removed + reply.removed, reply.more
        assert (removed, more) == expected

    def set_paused(self, queue: str, *, paused: bool) -> None:
        expected = self.queue(queue).set_paused(paused=paused)
        assert self.broker().set_paused(queue, paused=paused) is expected

    def set_limit(self, queue: str, task: str, limit: int | None) -> None:
        self.broker().set_limit(queue, task, limit)
        self.queue(queue).set_limit(task, limit)

    # -- what is looked at after each call ---------------------------------

    def compare(self, queues: list[str], stored_ids: list[str]) -> None:
        """Counts, the failed store, how jobs ended, and what operators see."""
        counts = self.broker().counts(queues)
        assert counts == [self.queue(name).counts() for name in queues]
        for name in queues:
            model = self.queue(name)
            found = [
                (each.cursor, each.record, each.retries, each.losses, each.failure)
                for each in self.broker().failed_jobs(name)
            ]
            expected = [
                (each.cursor, each.job.record, each.job.retries, each.job.losses, each.failure)
                for each in reversed(model.failed)
            ]
            assert found == expected
            ends = self.broker().job_ends(name, stored_ids)
            assert ends == [model.job_end(each) for each in stored_ids]
            survey = self.broker().survey(name)
            assert (survey.paused, survey.came, survey.ended) == (
                *(model.paused, model.enqueued + model.revived),
                model.ended,
            )
            assert survey.first_ready == (model.ready[0].record if model.ready else None)

    def close(self) -> None:
        for broker in self._brokers.values():
            broker.close()


class RedisSide(Side):
    """The Redis broker on an empty server, whose keys are checked as well."""

    def __init__(self, clock: VirtualClock, server: Server) -> None:
        super().__init__(
            clock,
            lambda retention: RedisBroker.from_url(
                server.unix_url,
                failed_retention=retention,
                _offset_ms=lambda: to_ms(clock.now()),
            ),
        )
        self._client: Redis = server.client()
        self._client.flushall()

    def delays_ms(self, queue: str) -> dict[str, int]:
        [found] = [each for each in ledger.read(self._client, NAMESPACE) if each.queue == queue]
        now_ms = self.queue(queue).now_ms
        waiting = {each: int(due) - now_ms for each, due in found.get("future", {}).items()}
        failed = found.get("failed", {})
        return {**dict.fromkeys(found.jobs.keys() - failed.keys(), 0), **waiting}

    def compare(self, queues: list[str], stored_ids: list[str]) -> None:
        super().compare(queues, stored_ids)
        for each in ledger.check(self._client, NAMESPACE):
            assert set(each.jobs) == self.queue(each.queue).ids()

    def close(self) -> None:
        super().close()
        self._client.close()


class _Drawn(RandomSource):
    """Gives out delays that another broker drew."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def uniform(self, a: float, b: float, /) -> float:
        return self.seconds.pop(0)


class MemorySide(Side):
    """The memory broker, which draws the delays that the Redis broker drew."""

    def __init__(self, clock: VirtualClock, drawn_by: RedisSide) -> None:
        store = MemoryStore()
        self._source = _Drawn()
        self._drawn_by = drawn_by
        super().__init__(
            clock,
            lambda retention: MemoryBroker(
                store, clock=clock, random_source=self._source, failed_retention=retention
            ),
        )

    def recover(self, process: str, queue: str, dead: str) -> bool:
        delays = self._drawn_by.delays_ms(queue)
        # It goes through the leases from the newest to the oldest.
        direct = [each for each in reversed(self.queue(queue).owned(dead)) if each.direct]
        again = [each.job for each in direct if each.job.stored_id in delays]
        self._source.seconds = [delays[job.stored_id] / 1000 for job in again]
        return super().recover(process, queue, dead)

    def delays_ms(self, queue: str) -> dict[str, int]:
        return self._drawn_by.delays_ms(queue)
