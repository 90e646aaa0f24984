"""The order of jobs that wait for a slot."""

from __future__ import annotations

from spinach.record.header import header_line
from spinach_memory.jobs import StoredJob
from spinach_memory.slots import Limits


def stored(number: int, task: str = "slow") -> StoredJob:
    return StoredJob(f"1{number}", header_line(max_retries=1, queue="q", task=task))


def test_job_gets_its_place_in_the_order_when_it_first_reaches_the_head() -> None:
    limits = Limits()
    limits.declare("m", {"slow": 1}, ())
    first, second = stored(1), stored(2)
    for job in (first, second, first):
        limits.slots_of(job)
    assert (first.order, second.order) == (1, 2)
    unlimited = stored(3, "quick")
    assert limits.slots_of(unlimited) is None
    assert unlimited.order == 0


def test_job_that_is_held_again_gets_its_old_place() -> None:
    limits = Limits()
    limits.declare("m", {"slow": 3}, ())
    jobs = [stored(number) for number in range(6)]
    slots = limits.tasks["slow"]
    for job in jobs:
        limits.slots_of(job)
        slots.hold(job)
    assert slots.promote(10) == jobs[:3]
    for job in (jobs[1], jobs[0], jobs[2]):
        slots.hold(job)
    assert list(slots.held) == jobs


def test_lowest_limit_is_in_force() -> None:
    limits = Limits()
    leased = [stored(number) for number in range(4)]
    limits.declare("a", {"slow": 5}, leased)
    slots = limits.tasks["slow"]
    assert (slots.limit, slots.taken, slots.free) == (5, 4, 1)
    limits.declare("b", {"slow": 2}, ())
    assert (slots.limit, slots.free) == (2, 0)
    assert limits.withdraw("b") == []
    assert (slots.limit, slots.free) == (5, 1)


def test_higher_limit_lets_held_jobs_in_up_to_the_free_slots() -> None:
    limits = Limits()
    limits.declare("a", {"slow": 1}, [stored(0)])
    slots = limits.tasks["slow"]
    jobs = [stored(number) for number in range(1, 5)]
    for job in jobs:
        limits.slots_of(job)
        slots.hold(job)
    assert limits.declare("a", {"slow": 3}, ()) == jobs[:2]
    assert limits.held == 2
    assert limits.withdraw("a") == jobs[2:]
    assert limits.tasks == {}
