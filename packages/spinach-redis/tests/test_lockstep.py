"""Memory and Redis answer the same to the ms, also at the borders of what they decide.

Both are asked the same at random, on one clock that is turned on and set back by spans
from around those borders. What the contract leaves to chance is taken out: a job that lost
its worker runs again at once. Larger plays against a model are in the fault suite.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from msgspec import structs

from spinach import FailedRetention, const
from spinach.brokers.calls import (
    BeatProgress,
    BeatReply,
    Cursor,
    Deposit,
    Enrolment,
    FailedFilter,
    FailedPortion,
    FetchTurn,
    FlowSample,
    Place,
    QueueSurvey,
    Turn,
    Verdict,
)
from spinach.clock import SystemClock, from_ms
from spinach.outcome import Failure, Lease, Outcome, OutcomeKind
from spinach.progress import Progress
from spinach.record.header import header_line
from spinach_memory import MemoryBroker
from spinach_memory import failed as memory_failed
from spinach_memory import recovery as memory_recovery
from spinach_redis import RedisBroker, requests
from spinach_redis import scripts as script

START_MS = 1_900_000_000_000
QUEUES = ("letters", "entries")
HOUR_MS = 3_600_000
#: Bounds that are reached.
RETENTION = FailedRetention(number=9, age=timedelta(hours=1), size=1500)
AMPLE_BYTES = 1024 * 1024

#: Each side of what counts as set back, of half a lease and of a lease, of the offices.
ON_MS = (
    *(0, 1, 400, 499, 500, 501, 999, 1000, 1001, 2500, 5000, 5001, 5500, 5999, 6000, 6001),
    *(10_000, 10_001, 11_999, 12_000, 12_001, 14_999, 15_000, 15_001, 30_000, 30_001),
    *(60_000, 60_001, HOUR_MS),
)
BACK_MS = (1, 500, 999, 1000, 1001, 2000, 4999, 12_001, 30_001, HOUR_MS)

NewBroker = Callable[..., RedisBroker]


class Turned(SystemClock):
    """Stands still, and is turned either way."""

    def __init__(self, us: int) -> None:
        self.ms = START_MS
        self.us = us

    def now(self) -> datetime:
        return from_ms(self.ms).replace(microsecond=self.ms % 1000 * 1000 + self.us)


class Pair:
    """The two brokers, and what they are known to hold."""

    def __init__(self, redis: RedisBroker, clock: Turned, rng: random.Random) -> None:
        self.memory = MemoryBroker(clock=clock, failed_retention=RETENTION)
        self.memory.bind(redis.namespace, object())
        self.redis = redis
        self.clock = clock
        self.rng = rng
        self.numbers: dict[tuple[str, str], int] = {}
        self.enrolments: dict[tuple[str, str], Enrolment] = {}
        #: Leases of both that are the same one.
        self.leases: list[tuple[Lease, Lease]] = []
        self.made = 0
        #: Queue and stored id of each job.
        self.ids: list[tuple[str, str]] = []
        self.log: list[object] = []

    # -- calls -------------------------------------------------------------

    def job(self, queue: str, due_ms: int | None = None) -> Deposit:
        self.made += 1
        retries = self.rng.choice([0, 1, 3])
        task = self.rng.choice(["limited", "plain", "plain"])
        kind = "1" if retries else "0"
        size = self.rng.choice([0, 10, 300])
        flags = self.rng.choice(["", "", "x", "hr"])
        header = header_line(max_retries=retries, queue=queue, task=task, flags=flags)
        record = header + b"x" * size
        stored_id = f"{kind}00000000-0000-4000-8000-{self.made:012}"
        self.ids.append((queue, stored_id))
        return Deposit(queue, stored_id, record, due_ms)

    def both(self, method: str, *args: object, **options: object) -> object:
        """The answer, which has to be that of both."""
        self.log.append((self.clock.ms - START_MS, method, args, options))
        mine = getattr(self.memory, method)(*args, **options)
        other = getattr(self.redis, method)(*args, **options)
        assert shown(mine) == shown(other), self.log[-12:]
        return mine

    def enqueue(self) -> None:
        rng = self.rng
        due = [None, None, None, -1, 0, 1, 999, 5000, 60_000]
        jobs = []
        for _ in range(rng.randint(1, 4)):
            after = rng.choice(due)
            due_ms = None if after is None else self.clock.ms + after
            jobs.append(self.job(rng.choice(QUEUES), due_ms))
        self.both("enqueue", jobs)

    def join(self) -> None:
        rng = self.rng
        queue = rng.choice(QUEUES)
        # Of equal deadlines the server tells by the name, memory by who joined first.
        there = sorted(name for where, name in self.enrolments if where == queue)
        self.made += 1
        member = f"m{self.made:05}" if len(there) < 4 else rng.choice(there)
        enrolment = self.enrolments.setdefault(
            (queue, member),
            Enrolment(
                lease_ms=rng.choice([10_000, 30_000, 30_001, 120_000]),
                limits={"limited": rng.randint(1, 2)} if rng.random() < 0.4 else {},
                periodic={"tidy": rng.choice([7000, 60_000])} if rng.random() < 0.4 else {},
            ),
        )
        self.both("join", queue, member, enrolment)
        self.numbers.setdefault((queue, member), 0)

    def turn(self) -> tuple[str, str, int] | None:
        if not self.numbers:
            return None
        key = self.rng.choice(sorted(self.numbers))
        self.numbers[key] += self.rng.choice([1, 1, 1, 0])
        return (*key, self.numbers[key])

    def fetch(self) -> None:
        turns = {}
        for _ in range(self.rng.randint(1, 2)):
            turn = self.turn()
            if turn is not None:
                parks = self.rng.choice([(), (), ("plain",)])
                turns[turn[0]] = FetchTurn(*turn, parks)
        if not turns:
            return
        asked = list(turns.values())
        options = {
            "idle": self.rng.randint(0, 4),
            "extra": self.rng.randint(0, 3),
            "max_bytes": self.rng.choice([AMPLE_BYTES, AMPLE_BYTES, 200, 400]),
        }
        self.log.append((self.clock.ms - START_MS, "fetch", asked, options))
        mine, other = (each.fetch(asked, **options) for each in (self.memory, self.redis))
        assert shown(mine) == shown(other), self.log[-12:]
        for one, two in zip(mine, other, strict=True):
            self.leases += zip(one.leases, two.leases, strict=True)

    def beat(self) -> None:
        turn = self.turn()
        if turn is not None:
            self.both("beat", [Turn(*turn)])

    def reconcile(self) -> None:
        turn = self.turn()
        if turn is None:
            return
        held = [pair for pair in self.leases if self.rng.random() < 0.7]
        self.log.append((self.clock.ms - START_MS, "reconcile", turn))
        replies = [
            broker.reconcile(Turn(*turn), [(pair[i].stored_id, pair[i].token) for pair in held])
            for i, broker in enumerate((self.memory, self.redis))
        ]
        assert shown(replies[0]) == shown(replies[1]), self.log[-12:]

    def leave(self) -> None:
        turn = self.turn()
        if turn is not None and self.both("leave", Turn(*turn)).verdict is Verdict.APPLIED:
            del self.numbers[turn[:2]], self.enrolments[turn[:2]]

    def report(self) -> None:
        if not self.leases:
            return
        told: list[tuple[Outcome, Outcome]] = []
        for pair in self.rng.sample(self.leases, min(len(self.leases), self.rng.randint(1, 3))):
            kind = self.rng.choice([*OutcomeKind, OutcomeKind.FAILED])
            task = "limited" if b"|limited\n" in pair[0].record else "plain"
            if kind is OutcomeKind.PARK and task == "limited":
                # Where such a job stands among others is left open.
                kind = OutcomeKind.FAILED
            delay_ms = self.rng.choice([0, 1, 500, 10_000])
            failure = Failure(
                error=self.rng.choice(["E", "E2", "é"]), message="é\ud800" * self.rng.randint(0, 30)
            )
            one, two = (
                Outcome(
                    kind,
                    lease,
                    task,
                    delay_ms=delay_ms if kind is OutcomeKind.RETRY else None,
                    failure=failure if kind in (OutcomeKind.FAILED, OutcomeKind.RETRY) else None,
                )
                for lease in pair
            )
            told.append((one, two))
            if self.rng.random() < 0.9:
                self.leases.remove(pair)
        # In one report both apply kinds in an order of their own.
        for one, two in told:
            self.log.append((self.clock.ms - START_MS, "report", one))
            assert self.memory.report([one]) == self.redis.report([two]), self.log[-12:]

    def tick(self) -> None:
        queue = self.rng.choice(QUEUES)
        tasks = ("tidy",) if self.rng.random() < 0.7 else ()
        reply = self.both("tick", queue, tasks)
        for due in reply.due:
            self.both("fire", queue, due.task, due.due_ms, self.job(queue))

    def recover(self) -> None:
        key = self.rng.choice(sorted(self.enrolments) or [("letters", "nobody")])
        if self.both("recover", *key).verdict is Verdict.APPLIED:
            del self.numbers[key], self.enrolments[key]

    def failed(self) -> None:
        rng = self.rng
        queue = rng.choice(QUEUES)
        jobs = self.both("failed_jobs", queue)
        place = rng.choice([None, *(job.cursor for job in jobs)])
        page = {"offset": rng.randint(0, 2), "limit": rng.randint(0, 3), "after": place}
        self.both("failed_jobs", queue, **page)
        self.both("failed_jobs", queue, after=Cursor(self.clock.ms - 500, 0, "1"))
        ids = [job.stored_id for job in jobs if rng.random() < 0.2]
        if rng.random() < 0.5:
            self.both(rng.choice(["retry_failed", "discard_failed"]), queue, [*ids, "1unknown"])
        if place is not None:
            # Also when it has just been taken out.
            self.both("failed_jobs", queue, after=place)
        self.both("find_failed", QUEUES, [*ids, "1unknown"])
        self.some_failed(queue, place)

    def some_failed(self, queue: str, place: Cursor | None) -> None:
        rng = self.rng
        matching = FailedFilter(
            task=rng.choice([None, "plain", "limited"]),
            error=rng.choice([None, "E", "é"]),
            since_ms=rng.choice([None, self.clock.ms - rng.choice(ON_MS)]),
        )
        page = {"offset": rng.randint(0, 2), "limit": rng.randint(0, 3), "after": place}
        self.both("failed_jobs", queue, matching=matching, **page)
        until = rng.choice([place, Cursor(self.clock.ms, 2047, "2"), Cursor(self.clock.ms, 0, "1")])
        if until is not None and rng.random() < 0.3:
            after = rng.choice([None, None, Cursor(self.clock.ms - 500, 0, "1")])
            portion = FailedPortion(matching=matching, until=until, after=after)
            self.both(rng.choice(["retry_matching", "discard_matching"]), queue, portion)

    def some_ids(self, queue: str, most: int = 4) -> list[str]:
        newest = [stored_id for where, stored_id in self.ids[-40:] if where == queue]
        return self.rng.sample(newest, min(len(newest), self.rng.randint(1, most)))

    def find(self) -> None:
        queue = self.rng.choice(QUEUES)
        self.both("find_jobs", QUEUES, self.some_ids(queue))
        for place in (Place.FUTURE, Place.FAILED):
            self.both("list_jobs", queue, places=[place], limit=1000)
        # The order within a fetch, and that of all places, is a broker's own.
        places = self.rng.choice([(), (Place.LEASED,), (Place.READY, Place.HELD)])
        task = self.rng.choice([None, "limited"])
        pages = [
            broker.list_jobs(queue, places=places, task=task, limit=1000)
            for broker in (self.memory, self.redis)
        ]
        one, two = (sorted(shown(page.jobs), key=str) for page in pages)
        assert one == two, self.log[-12:]

    def cancel(self) -> None:
        queue = self.rng.choice(QUEUES)
        self.both("cancel_jobs", queue, self.some_ids(queue, self.rng.choice([2, 12])))

    def steer(self) -> None:
        rng = self.rng
        queue = rng.choice(QUEUES)
        move = rng.choice(["pause", "pause", "limit", "limit", "purge"])
        if move == "pause":
            self.both("set_paused", queue, paused=rng.random() < 0.4)
        elif move == "limit":
            self.both("set_limit", queue, "limited", rng.choice([None, None, 1, 2, 4]))
        else:
            # All of them: a part may be smaller where others were cancelled.
            self.both("purge", queue, rng.choice(["queued", "waiting", "failed"]), 1000)

    def survey(self) -> None:
        queue = self.rng.choice(QUEUES)
        self.both("survey", queue)
        self.both("periodic_tasks", queue)
        # One that is gone may be told as long as jobs have its slots.
        one, two = (
            [each for each in broker.limits(queue) if each.limit is not None]
            for broker in (self.memory, self.redis)
        )
        assert one == two, self.log[-12:]

    def progress(self) -> None:
        if not self.leases:
            return
        pair = self.rng.choice(self.leases)
        told = Progress(done=self.rng.randint(0, 9), total=9, note="ü")
        replies = []
        for broker, lease in zip((self.memory, self.redis), pair, strict=True):
            beat = BeatProgress(lease.queue, lease.member, lease.stored_id, lease.token, told)
            replies.append(broker.beat([Turn(lease.queue, lease.member, 0)], [beat]))
        self.log.append((self.clock.ms - START_MS, "progress", pair[0], told))
        assert shown(replies[0]) == shown(replies[1]), self.log[-12:]

    def time(self) -> None:
        if self.rng.random() < 0.3:
            self.clock.ms -= self.rng.choice(BACK_MS)
        else:
            self.clock.ms += self.rng.choice(ON_MS)

    def look(self) -> None:
        self.both("counts", list(QUEUES))
        assert sorted(self.memory.queues()) == sorted(self.redis.queues())

    def step(self) -> None:
        moves = [
            *[self.enqueue, self.fetch, self.beat, self.report, self.time] * 3,
            *[self.join, self.tick, self.recover, self.failed, self.reconcile, self.leave],
            *[self.find, self.cancel, self.cancel, self.progress, self.steer, self.survey],
        ]
        self.rng.choice(moves)()


def shown(reply: object) -> object:
    """A reply without what each broker makes up: tokens, and the order of parks."""
    if isinstance(reply, list | tuple):
        return [shown(each) for each in reply]
    if isinstance(reply, Lease):
        return structs.replace(reply, token="")
    if hasattr(reply, "__struct_fields__"):
        fields = {name: shown(getattr(reply, name)) for name in reply.__struct_fields__}
        if "parks" in fields:
            fields["parks"] = set(fields["parks"])
        fields.pop("cursor", None)
        if isinstance(reply, FlowSample):
            # Each numbers its leases in its own way.
            del fields["leases"]
        if isinstance(reply, QueueSurvey):
            # In whatever order.
            fields["samples"].sort(key=str)
        for name in ("strays", "missing"):
            if name in fields:
                fields[name] = [getattr(each, "stored_id", each) for each in fields[name]]
        if isinstance(reply, BeatReply):
            # In whatever order.
            fields["cancelled"] = sorted(pair[0] for pair in reply.cancelled)
        if "strays" in fields:
            fields["strays"] = [pair[0] for pair in fields["strays"]]
        for name, value in fields.items():
            # Redis tells us, memory whole ms; both are rounded to what is left at least.
            if name.startswith("next_") and value is not None:
                fields[name] = -(-value // 1)
        return fields
    return reply


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """No delay after a loss, and portions that are many."""
    monkeypatch.setattr(memory_failed, "FAILED_CHUNK", 2)
    monkeypatch.setattr(requests, "FAILED_CHUNK", 2)
    monkeypatch.setattr(memory_recovery, "RECOVERY_BASE_SECONDS", 0.0)
    monkeypatch.setattr(requests, "RECOVERY_BASE_SECONDS", 0.0)


@pytest.fixture(params=[0, 1, 999], ids=lambda us: f"{us}us")
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Turned]:
    """Of both; the scripts take the offset for the time, but for some microseconds."""
    reading, us = b"local time = call('TIME')", request.param
    for each in script.SCRIPTS:
        assert each.text.count(reading) == 1, each
        told = tuple(part.replace(reading, b"local time = {0, %d}" % us) for part in each.parts)
        monkeypatch.setattr(each, "parts", told)
        monkeypatch.setattr(each, "sha", hashlib.sha1(each.text).hexdigest().encode())
    return Turned(us)


@pytest.mark.parametrize("seed", range(12))
def test_memory_and_redis_answer_the_same(
    new_broker: NewBroker, clock: Turned, alike: None, seed: int
) -> None:
    redis = new_broker(failed_retention=RETENTION, _offset_ms=lambda: clock.ms)
    pair = Pair(redis, clock, random.Random(seed))
    for _ in range(300):
        pair.step()
        pair.look()


@pytest.mark.parametrize("renewed_at_ms", [499, 500, 501])
def test_office_of_a_timekeeper_ends_at_the_same_ms(
    new_broker: NewBroker, clock: Turned, renewed_at_ms: int
) -> None:
    pair = Pair(new_broker(_offset_ms=lambda: clock.ms), clock, random.Random(0))
    for member in ("keeper", "other"):
        pair.both("join", "letters", member, Enrolment(lease_ms=30_000))
    pair.both("enqueue", [pair.job("letters", START_MS + HOUR_MS)])

    def told(member: str, number: int) -> bool:
        turn = FetchTurn("letters", member, number)
        [reply] = pair.both("fetch", [turn], idle=0, extra=0, max_bytes=AMPLE_BYTES)
        return reply.next_due_in_ms is not None

    assert told("keeper", 1)
    clock.ms = START_MS + renewed_at_ms
    assert told("keeper", 2)
    # Less than that after the last one it was no renewal.
    begun_ms = renewed_at_ms if renewed_at_ms > const.RENEWAL_MS else 0
    for number, (at_ms, over) in enumerate([(-1, False), (0, True)], 1):
        clock.ms = START_MS + begun_ms + const.TIMEKEEPER_MS + at_ms
        assert told("other", number) is over
