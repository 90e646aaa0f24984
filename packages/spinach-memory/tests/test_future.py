"""Jobs that wait for their instant."""

from __future__ import annotations

from spinach_memory.future import FutureJobs, Timekeeper
from spinach_memory.jobs import StoredJob


def stored(number: int, retries: int = 0) -> StoredJob:
    job = StoredJob(f"1{number}", b"")
    job.retries = retries
    return job


def test_jobs_become_due_in_the_order_of_their_instants_then_as_they_came() -> None:
    future = FutureJobs()
    late, early, same = stored(1), stored(2), stored(3)
    assert future.push(late, 20)
    assert future.push(early, 10)
    assert not future.push(same, 10)
    assert future.next_due_ms == 10
    assert future.pop_due(9, 5) == []
    assert future.pop_due(20, 2) == [early, same]
    assert future.pop_due(20, 2) == [late]
    assert future.next_due_ms is None


def test_retries_are_counted_apart() -> None:
    future = FutureJobs()
    future.push(stored(1), 1)
    future.push(stored(2, retries=1), 2)
    future.push(stored(3, retries=4), 3)
    assert (len(future), future.retrying) == (3, 2)
    future.pop_due(2, 5)
    assert (len(future), future.retrying) == (1, 1)


def test_timekeeper_stays_until_its_time_is_over() -> None:
    keeper = Timekeeper()
    assert keeper.offer("a", 0)
    assert not keeper.offer("b", 5999)
    assert keeper.offer("a", 5999)
    assert not keeper.offer("b", 11_998)
    assert keeper.offer("b", 11_999)
    keeper.wanted = True
    assert keeper.offer("a", 12_000)
    assert not keeper.remove("b")
    assert keeper.remove("a")
    assert keeper.offer("b", 12_000)
