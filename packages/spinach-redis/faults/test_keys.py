"""What people ask for leaves the keys as they should be: nothing of what is gone, no wrong size.

No fault is needed for that, and what is left would mostly be noticed by nobody. So each test asks
the ledger, which reads all keys.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from spinach.brokers.calls import (
    BeatProgress,
    CancelVerdict,
    Ending,
    FailedFilter,
    FailedPortion,
    JobEnd,
    Turn,
    Verdict,
)
from spinach.const import FAILED_CHUNK, FINE_SAMPLE_MS, MAX_PERIODIC_SILENCE
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.progress import Progress
from spinach.retention import DEFAULT_RETENTION
from spinach_redis import RedisBroker, replies, requests
from spinach_redis.keys import QueueKeys

from ..tests.jobs import QUEUE, TASK, Member, deposit, success
from ..tests.servers import Server
from . import ledger

#: How long ends are kept here, in ms, and records that ask for it.
KEEP_MS = 60_000
KEPT = b'[[],{},0,{"keep_ms":%d}]' % KEEP_MS
#: So far away that nothing becomes due by itself, in ms.
FAR_MS = 2**42
SECOND_MS = 1_000


class Bench:
    """A broker in a new namespace, with a clock that tests turn, and its ledger.

    Args:
        server: of the broker.
    """

    def __init__(self, server: Server) -> None:
        self._offset_ms = 0
        self.client: Redis = server.client()
        self.namespace = f"keys-{uuid.uuid4().hex}"
        self.broker = RedisBroker.from_url(server.unix_url, _offset_ms=lambda: self._offset_ms)
        self.broker.bind(self.namespace, object())
        self.names = QueueKeys(self.namespace, QUEUE)

    def turn(self, ms: int) -> None:
        """Turn the clock."""
        self._offset_ms += ms

    def check(self) -> ledger.Ledger:
        """What is in the queue, in which nothing is wrong."""
        [found] = ledger.check(self.client, self.namespace)
        return found

    def ready(self, *leases: Lease) -> None:
        """Spend an attempt of each; all are ready again."""
        self.report(OutcomeKind.RETRY, *leases)

    def report(self, kind: OutcomeKind, *leases: Lease, **fields: object) -> None:
        """End leases in one way."""
        told = [Outcome(kind, lease, TASK, **fields) for lease in leases]  # type: ignore[arg-type]
        assert set(self.broker.report(told).verdicts) == {Verdict.APPLIED}

    def cancel(self, *stored_ids: str) -> list[CancelVerdict]:
        """Take jobs back."""
        return [reply.verdict for reply in self.broker.cancel_jobs(QUEUE, stored_ids)]

    def die(self, member: Member, survivor: Member) -> None:
        """A member dies, and its leases are taken back."""
        for _ in range(5):
            self.turn(10 * SECOND_MS)
            self.broker.beat([Turn(QUEUE, survivor.name, 0)])
        assert self.broker.recover(QUEUE, member.name).verdict is Verdict.APPLIED

    def close(self) -> None:
        self.broker.close()
        self.client.close()


@pytest.fixture
def bench(server: Server) -> Iterator[Bench]:
    bench = Bench(server)
    yield bench
    bench.close()


@pytest.fixture
def own_bench(own_server: Server) -> Iterator[Bench]:
    """On a server that the test may fill."""
    bench = Bench(own_server)
    yield bench
    bench.close()


# -- cancels ------------------------------------------------------------------------


def test_cancelled_jobs_leave_none_of_their_attempts(bench: Bench) -> None:  # I19, I22
    member = Member(bench.broker)
    bench.broker.enqueue([deposit() for _ in range(2)])
    waits, ready = member.take(2)
    bench.ready(ready)
    bench.report(OutcomeKind.RETRY, waits, delay_ms=FAR_MS)
    assert len(bench.check().get("attempts", {})) == 2
    assert set(bench.cancel(ready.stored_id, waits.stored_id)) == {CancelVerdict.CANCELLED}
    found = bench.check()
    assert not found.content.keys() & {"attempts", "future", "retrying", "ready", "jobs"}


def test_leases_of_cancelled_jobs_leave_no_request(bench: Bench) -> None:  # I22
    member, survivor = Member(bench.broker), Member(bench.broker)
    bench.broker.enqueue([deposit() for _ in range(3)])
    bench.ready(*member.take(3))
    ends, back, lost = member.take(3)
    bench.cancel(*(each.stored_id for each in (ends, back, lost)))
    assert len(bench.check().get("cancelling", {})) == 3
    bench.broker.report([success(ends)])
    bench.check()
    bench.report(OutcomeKind.RELEASE, back)
    bench.check()
    bench.die(member, survivor)
    found = bench.check()
    assert not found.content.keys() & {"cancelling", "jobs", "attempts"}


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))], ids=str)
@pytest.mark.parametrize("place", ["held", "parked"])
def test_lines_that_lose_jobs_in_any_order_are_whole(
    bench: Bench, place: str, order: tuple[int, ...]
) -> None:  # I22
    member = Member(bench.broker, limits={TASK: 1} if place == "held" else {})
    jobs = [deposit() for _ in range(5)]
    bench.broker.enqueue(jobs)
    leases = member.take(5)
    if place == "parked":
        bench.report(OutcomeKind.PARK, *leases[1:])
    for number, at in enumerate(order):
        assert bench.cancel(jobs[1 + at].stored_id) == [CancelVerdict.CANCELLED]
        found = bench.check()
        assert sum("|" in entry for entry in found.get(place, {})) == 3 - number
    assert not found.content.keys() & {place, f"{place}-ends"}


@pytest.mark.parametrize("lost", [(1,), (1, 2), (2,), (1, 3)])
def test_held_jobs_go_on_past_those_that_are_cancelled(
    bench: Bench, lost: tuple[int, ...]
) -> None:  # I10, I22
    member = Member(bench.broker, limits={TASK: 1})
    jobs = [deposit() for _ in range(5)]
    bench.broker.enqueue(jobs)
    [running] = member.take(5)
    bench.cancel(*(jobs[1 + at].stored_id for at in lost))
    ran = []
    while running is not None:
        ran.append(running.stored_id)
        bench.broker.report([success(running)])
        bench.check()
        running = next(iter(member.take(5)), None)
        bench.check()
    assert ran == [job.stored_id for at, job in enumerate(jobs) if at - 1 not in lost]


def test_job_that_came_back_and_is_cancelled_is_in_no_line(bench: Bench) -> None:  # I10, I22
    member = Member(bench.broker, limits={TASK: 1})
    jobs = [deposit() for _ in range(3)]
    bench.broker.enqueue(jobs)
    [running] = member.take(3)
    bench.broker.report([success(running)])
    bench.cancel(jobs[1].stored_id)
    assert bench.check().get("brought", set()) == {jobs[2].stored_id}


def test_one_call_cancels_no_more_than_its_answer_may_hold(bench: Bench) -> None:  # I19
    large = [deposit(payload=b'["' + b"x" * 700_000 + b'"]') for _ in range(3)]
    bench.broker.enqueue(large)
    stored_ids = [job.stored_id for job in large]
    call = requests.cancel(bench.names, "0", (), stored_ids)
    _, flat = bench.broker._process.client.call(call, repeatable=False)
    assert [reply.record for reply in replies.cancel_replies(flat)] == [large[0].record]
    assert set(bench.check().jobs) == set(stored_ids[1:])
    assert bench.cancel(*stored_ids[1:]) == [CancelVerdict.CANCELLED] * 2


# -- progress -----------------------------------------------------------------------


def tell(bench: Bench, member: Member, *leases: Lease) -> None:
    """A beat with progress."""
    told = [
        BeatProgress(QUEUE, member.name, each.stored_id, each.token, Progress(1, 2, "half"))
        for each in leases
    ]
    bench.broker.beat([Turn(QUEUE, member.name, 0)], told)


def test_progress_ends_with_each_lease(bench: Bench) -> None:  # I22
    member, survivor = Member(bench.broker), Member(bench.broker)
    bench.broker.enqueue([deposit() for _ in range(3)])
    done, back, lost = leases = member.take(3)
    tell(bench, member, *leases)
    assert len(bench.check().get("progress", {})) == 3
    bench.broker.report([success(done)])
    assert len(bench.check().get("progress", {})) == 2
    bench.report(OutcomeKind.RELEASE, back)
    assert list(bench.check().get("progress", {})) == [lost.stored_id]
    bench.die(member, survivor)
    assert "progress" not in bench.check().content


def test_full_server_lets_jobs_be_cancelled_and_takes_no_progress(own_bench: Bench) -> None:  # I22
    bench = own_bench
    member = Member(bench.broker)
    bench.broker.enqueue([deposit() for _ in range(3)])
    leases = member.take(1)
    bench.client.config_set("maxmemory", 1)
    try:
        tell(bench, member, *leases)
        assert "progress" not in bench.check().content
        *_, waiting = bench.check().get("ready", [])
        verdicts = bench.cancel(waiting, leases[0].stored_id)
    finally:
        bench.client.config_set("maxmemory", 0)
    assert verdicts == [CancelVerdict.CANCELLED, CancelVerdict.REQUESTED]
    bench.check()


# -- ends ---------------------------------------------------------------------------


def test_ends_go_with_their_instants(bench: Bench) -> None:  # I23
    member = Member(bench.broker)
    bench.broker.enqueue([deposit(payload=KEPT, flags="r") for _ in range(3)])
    done, *others = member.take(3)
    bench.report(OutcomeKind.SUCCEEDED, done, keep_ms=KEEP_MS, result=b"1")
    bench.report(OutcomeKind.FAILED, *others, keep_ms=KEEP_MS)
    # Nobody has to wait for what has ended.
    ended = bench.broker.await_end(QUEUE, done.stored_id, 60.0)
    assert ended == JobEnd(ending=Ending.SUCCEEDED, result=b"1")
    assert len(bench.check().get("results", {})) == 3
    one, other = others
    assert bench.broker.retry_failed(QUEUE, [one.stored_id]) == 1
    bench.check()
    [entry] = bench.broker.failed_jobs(QUEUE)
    portion = FailedPortion(matching=FailedFilter(), until=entry.cursor)
    assert bench.broker.retry_matching(QUEUE, portion).count == 1
    assert list(bench.check().get("results", {})) == [done.stored_id]
    [reply] = bench.broker.cancel_jobs(QUEUE, [other.stored_id])
    assert reply.verdict is CancelVerdict.CANCELLED
    assert len(bench.check().get("results", {})) == 2


def test_one_call_drops_a_bounded_number_of_ends(bench: Bench) -> None:  # I19, I23
    member = Member(bench.broker)
    bench.broker.enqueue([deposit(payload=KEPT, flags="r") for _ in range(1050)])
    leases = [lease for _ in range(11) for lease in member.take(100)]
    bench.report(OutcomeKind.SUCCEEDED, *leases, keep_ms=KEEP_MS)
    bench.turn(2 * KEEP_MS)
    numbers = []
    for _ in range(3):
        bench.broker.beat([Turn(QUEUE, member.name, 0)])
        numbers.append(len(bench.check().get("results", {})))
        bench.turn(FINE_SAMPLE_MS)
    assert numbers == [50, 0, 0]


def test_one_answer_has_a_bounded_number_of_results(bench: Bench) -> None:  # I19
    member = Member(bench.broker)
    bench.broker.enqueue([deposit(payload=KEPT, flags="r") for _ in range(3)])
    leases = member.take(3)
    large = b'"' + b"x" * 700_000 + b'"'
    bench.report(OutcomeKind.SUCCEEDED, *leases, keep_ms=KEEP_MS, result=large)
    call = requests.ends(bench.names, "0", [lease.stored_id for lease in leases])
    reply = bench.broker._process.client.call(call, repeatable=True)
    assert reply == [b"S" + large]


def test_one_look_at_jobs_has_a_bounded_answer(bench: Bench) -> None:  # I19
    jobs = [deposit(payload=b'["' + b"x" * 100_000 + b'"]') for _ in range(50)]
    bench.broker.enqueue(jobs)
    stored_ids = [job.stored_id for job in jobs]
    call = requests.find(bench.names, "0", (), stored_ids)
    _, looked, found = bench.broker._process.client.call(call, repeatable=True)
    assert (looked, len(found)) == (20, 20)
    assert len(bench.broker.find_jobs([QUEUE], stored_ids)) == 50
    assert len(bench.broker.list_jobs(QUEUE, limit=50).jobs) == 10


# -- the failed store ---------------------------------------------------------------


def fail(bench: Bench, number: int, payload: bytes = b"[]") -> None:
    """So many jobs fail."""
    member = Member(bench.broker)
    bench.broker.enqueue([deposit(payload=payload) for _ in range(number)])
    while leases := member.take(100):
        bench.report(OutcomeKind.FAILED, *leases)


def page(bench: Bench, matching: FailedFilter) -> replies.FailedPage:
    """One call, as a page makes several of."""
    call = requests.failed_page(bench.names, "0", skip=0, limit=1000, after=None, matching=matching)
    return replies.failed_page(bench.broker._process.client.call(call, repeatable=True))


def test_one_call_looks_at_a_bounded_number_of_failed_jobs(bench: Bench) -> None:  # I19
    fail(bench, FAILED_CHUNK + 20)
    found = page(bench, FailedFilter(task="another"))
    assert found.jobs == []
    assert found.after is not None
    assert len(bench.broker.failed_jobs(QUEUE, limit=1000)) == FAILED_CHUNK + 20
    assert bench.broker.failed_jobs(QUEUE, matching=FailedFilter(task="another")) == []


def test_one_call_reads_a_bounded_number_of_bytes_of_failed_jobs(bench: Bench) -> None:  # I19
    fail(bench, 4, payload=b'["' + b"x" * 700_000 + b'"]')
    found = page(bench, FailedFilter())
    assert len(found.jobs) == 1
    assert found.after is not None
    assert len(bench.broker.failed_jobs(QUEUE)) == 4


@pytest.mark.parametrize("run", [True, False])
def test_portions_of_the_failed_store_leave_it_exact(bench: Bench, run: bool) -> None:  # I19
    fail(bench, 20)
    broker = bench.broker
    newest, *_, oldest = broker.failed_jobs(QUEUE)
    take = broker.retry_matching if run else broker.discard_matching
    first = FailedPortion(matching=FailedFilter(), until=oldest.cursor)
    assert take(QUEUE, first).count == 1
    found = bench.check()
    assert found.flow() == ((21, 20) if run else (20, 20))
    rest = FailedPortion(matching=FailedFilter(task=TASK), until=newest.cursor)
    assert take(QUEUE, rest).count == 19
    found = bench.check()
    assert found.flow() == ((40, 20) if run else (20, 20))
    assert len(found.jobs) == (20 if run else 0)


def test_failed_jobs_that_are_too_old_are_not_there_before_they_are_dropped(
    bench: Bench,
) -> None:  # I19
    fail(bench, 250)
    entries = bench.broker.failed_jobs(QUEUE, limit=250)
    newest, oldest = entries[0], entries[-1]
    bench.turn(DEFAULT_RETENTION.age_ms + 60 * SECOND_MS)
    broker = bench.broker
    assert broker.find_failed([QUEUE], [newest.stored_id]) == []
    assert broker.find_jobs([QUEUE], [newest.stored_id]) == []
    assert broker.list_jobs(QUEUE).jobs == ()
    portion = FailedPortion(
        matching=FailedFilter(since_ms=oldest.failed_at_ms), until=newest.cursor
    )
    assert broker.retry_matching(QUEUE, portion).count == 0
    # The next one drops a hundred of them, which leaves some others.
    assert broker.retry_failed(QUEUE, [newest.stored_id]) == 0
    assert len(bench.check().get("failed", {})) == 150


# -- purges and pauses --------------------------------------------------------------


def queue_of_all_places(bench: Bench) -> Member:
    """Ready, held, parked, and waiting jobs, and gaps among them; some spent an attempt."""
    member = Member(bench.broker, limits={TASK: 2})
    bench.broker.enqueue([deposit() for _ in range(9)])
    bench.broker.enqueue([deposit(due_ms=FAR_MS)])
    first, second = member.take(9)
    bench.ready(first)
    bench.report(OutcomeKind.PARK, second)
    [third, fourth] = member.take(9)
    bench.report(OutcomeKind.RETRY, third, delay_ms=FAR_MS)
    bench.broker.report([success(fourth)])
    ready, held = bench.check().get("ready", []), bench.check().get("held", {})
    lines = [each for place, each in held.items() if "|" in place]
    bench.cancel(ready[1], *lines[1:2])
    bench.check()
    return member


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 1000])
def test_purge_leaves_nothing_of_the_jobs_that_it_takes(bench: Bench, limit: int) -> None:  # I24
    member = queue_of_all_places(bench)
    there = len(bench.check().jobs)
    removed = 0
    for status in ("queued", "waiting"):
        more = True
        while more:
            reply = bench.broker.purge(QUEUE, status, limit)  # type: ignore[arg-type]
            removed, more = removed + reply.removed, reply.more
            found = bench.check()
            assert len(found.jobs) == there - removed
    assert bench.broker.leave(member.turn()).verdict is Verdict.APPLIED
    [found] = ledger.check_drained(bench.client, bench.namespace)
    assert int(found.get("flow", {})["purged"]) == removed == there


def test_join_takes_a_sample(bench: Bench) -> None:  # I24
    Member(bench.broker)
    assert len(bench.broker.survey(QUEUE).samples) == 2
    bench.check()


def test_purge_of_failed_jobs_leaves_their_store_exact(bench: Bench) -> None:  # I19, I24
    fail(bench, 5)
    assert bench.broker.purge(QUEUE, "failed", 2).removed == 2
    assert len(bench.check().get("failed", {})) == 3
    assert bench.broker.purge(QUEUE, "failed", 9).removed == 3
    assert not bench.check().content.keys() & {"jobs", "failed", "errors", "attempts"}


def test_paused_task_that_nobody_declares_is_forgotten_whole(bench: Bench) -> None:  # I19, I24
    member = Member(bench.broker, periodic={"tidy": 60_000})
    assert bench.broker.set_periodic_paused(QUEUE, "tidy", paused=True)
    bench.check()
    bench.broker.leave(member.turn())
    bench.turn(2 * int(MAX_PERIODIC_SILENCE.total_seconds()) * SECOND_MS)
    Member(bench.broker)
    found = bench.check()
    assert not found.content.keys() & {"periodic", "periodic-info", "periodic-paused"}


STEERED: dict[str, Callable[[RedisBroker], object]] = {
    "pause": lambda broker: broker.set_paused(QUEUE, paused=True),
    "set a limit": lambda broker: broker.set_limit(QUEUE, TASK, 1),
    "pause a periodic task": lambda broker: broker.set_periodic_paused(QUEUE, "tidy", paused=True),
}


@pytest.mark.parametrize("name", STEERED)
def test_what_is_taken_back_leaves_nothing(bench: Bench, name: str) -> None:  # I24
    member = Member(bench.broker, periodic={"tidy": 60_000})
    bench.broker.enqueue([deposit() for _ in range(3)])
    member.take(1)
    before = bench.check().content.keys()
    STEERED[name](bench.broker)
    assert bench.check().content.keys() != before
    bench.broker.set_paused(QUEUE, paused=False)
    bench.broker.set_limit(QUEUE, TASK, None)
    bench.broker.set_periodic_paused(QUEUE, "tidy", paused=False)
    left = bench.check()
    # The slot of the job that runs goes with it.
    assert left.content.keys() - before <= {"limits", "slots"}
