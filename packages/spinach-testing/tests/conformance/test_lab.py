"""The lab's own promises: blocked calls fail clearly, and none outlives its test."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach_testing.conformance import Harness, Lab, deposit, ids


@pytest.fixture
def lab(new_harness: type[Harness]):
    with new_harness() as harness, Lab(harness, patience_seconds=0.1) as lab:
        yield lab


def test_call_that_stays_blocked_fails_the_test(lab: Lab) -> None:
    end = threading.Event()
    call = lab.background(lambda: end.wait(30))

    with pytest.raises(AssertionError, match=r"still blocked after 0\.1 s"):
        call.result()

    end.set()


def test_call_passes_on_what_it_returned_or_raised(new_harness: type[Harness]) -> None:
    with new_harness() as harness, Lab(harness) as lab:
        assert lab.background(lambda: 5).result() == 5
        with pytest.raises(ZeroDivisionError):
            lab.background(lambda: 1 // 0).result()


def test_closing_ends_the_waits_of_all_processes(new_harness: type[Harness]) -> None:
    with new_harness() as harness:
        with Lab(harness) as lab:
            process = lab.process()
            call = lab.background(lambda: process.fetch(block_seconds=1_000_000))
        assert call.ends_within(0)


def test_living_processes_keep_their_leases_however_long_they_live(lab: Lab) -> None:
    lab.enqueue(deposit())
    process, other = lab.process(), lab.process()
    lease = process.take_one()
    start = lab.now_ms()

    assert lab.live(timedelta(minutes=7, seconds=3), process, other) == []

    assert lab.now_ms() - start == 423_000
    process.succeed(lease)


def test_burying_needs_a_death(lab: Lab) -> None:
    dead, survivor = lab.process(), lab.process()
    dead.leave()

    with pytest.raises(AssertionError, match="is dead, but named were"):
        lab.bury(dead, survivor)


def test_deposits_have_ids_of_their_own() -> None:
    jobs = [deposit() for _ in range(100)]

    assert len(set(ids(jobs))) == 100
    assert {stored_id[0] for stored_id in ids(jobs)} == {"1"}
    assert deposit(max_retries=0).stored_id[0] == "0"
