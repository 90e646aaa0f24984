from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from spinach import FailedRetention
from spinach.const import HOUSEKEEPING_CHUNK, MAX_FAILED, REPORT_CHUNK
from spinach.outcome import Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis import scripts as script

from .jobs import QUEUE, TASK, Member, deposit
from .servers import Server

NewBroker = Callable[..., RedisBroker]


class Store:
    """A queue whose jobs all fail, and what is on the server afterwards."""

    def __init__(self, new_broker: NewBroker, server: Server, namespace: str) -> None:
        self._new_broker = new_broker
        self.broker = new_broker()
        self.member = Member(self.broker)
        self._server = server
        self._tag = f"{{{namespace}/{QUEUE}}}:"

    def keep(self, *, number: int = MAX_FAILED, size: int = 2**30) -> None:
        """Let a further worker process say what is kept, which goes at once."""
        retention = FailedRetention(number=number, size=size)
        Member(self._new_broker(failed_retention=retention))

    def fail(self, count: int, *, size: int = 2) -> list[str]:
        """Let `count` jobs of a payload of `size` bytes fail, in one report."""
        jobs = [deposit(max_retries=0, payload=b"x" * size) for _ in range(count)]
        self.broker.enqueue(jobs)
        leases = []
        while len(leases) < count:
            leases += self.member.take(idle=count - len(leases))
        assert len(leases) <= REPORT_CHUNK
        self.broker.report([Outcome(OutcomeKind.FAILED, lease, TASK) for lease in leases])
        return [job.stored_id for job in jobs]

    def ids(self) -> list[str]:
        with self._server.client() as client:
            return [key.decode() for key in client.zrange(f"{self._tag}failed", 0, -1)]

    def size(self) -> int:
        """Records and reasons of the failed jobs, in bytes, as they are and as counted."""
        with self._server.client() as client:
            parts = [*client.hvals(f"{self._tag}jobs"), *client.hvals(f"{self._tag}errors")]
            assert int(client.get(f"{self._tag}failed-bytes")) == sum(map(len, parts))
            return sum(map(len, parts))


@pytest.fixture
def store(new_broker: NewBroker, server: Server, namespace: str) -> Store:
    return Store(new_broker, server, namespace)


def test_report_of_more_failures_than_are_kept_leaves_the_newest(store: Store) -> None:  # I19
    store.keep(number=300)
    store.fail(300)
    newest = store.fail(REPORT_CHUNK)
    assert store.ids() == newest[-300:]
    store.size()


def test_report_of_more_bytes_than_are_kept_leaves_the_newest(store: Store) -> None:  # I19
    store.keep(size=100_000)
    newest = store.fail(REPORT_CHUNK, size=500)
    assert store.size() <= 100_000
    assert 0 < len(store.ids()) < 200
    assert store.ids() == newest[-len(store.ids()) :]


def test_large_failure_costs_as_many_small_ones_as_it_takes(store: Store) -> None:  # I19
    store.keep(size=100_000)
    small = store.fail(REPORT_CHUNK)
    room = 100_000 - store.size()
    [large] = store.fail(1, size=room + 30_000)
    assert store.size() <= 100_000
    left = store.ids()
    assert left[-1] == large
    assert left[:-1] == small[-len(left) + 1 :]
    assert len(left) < len(small) - HOUSEKEEPING_CHUNK


def test_failure_larger_than_the_store_is_kept_alone(store: Store) -> None:
    store.keep(size=100_000)
    store.fail(REPORT_CHUNK)
    assert store.fail(1, size=200_000) == store.ids()


def test_pages_bring_each_of_many_failures_of_one_ms_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:  # I1
    for each in script.SCRIPTS:
        told = tuple(part.replace(b"call('TIME')", b"{1900000000, 0}") for part in each.parts)
        monkeypatch.setattr(each, "parts", told)
        monkeypatch.setattr(each, "sha", hashlib.sha1(each.text).hexdigest().encode())
    # More than a score tells apart within a ms.
    jobs = [*store.fail(REPORT_CHUNK), *store.fail(REPORT_CHUNK), *store.fail(REPORT_CHUNK)]
    walked: list[str] = []
    after = None
    while page := store.broker.failed_jobs(QUEUE, limit=700, after=after):
        after = page[-1].cursor
        walked += [job.stored_id for job in page]
        # Of those that the next page begins behind some are gone by then.
        store.broker.discard_failed(QUEUE, walked[-2:])
    assert len(walked) == len(jobs) == len(set(walked))
    assert walked[::-1][:2000] == jobs[:2000]


def test_bound_that_became_smaller_takes_effect_bit_by_bit(store: Store) -> None:  # I19
    jobs = store.fail(REPORT_CHUNK)
    store.keep(number=10)
    store.broker.counts([QUEUE])
    assert store.ids() == jobs[HOUSEKEEPING_CHUNK:]
    [newest] = store.fail(1)
    assert store.ids() == [*jobs[2 * HOUSEKEEPING_CHUNK + 1 :], newest]
