"""How many jobs to keep at hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spinach.const import BUFFER_HORIZON_SECONDS, MAX_BUFFER
from spinach.worker.prefetch import Prefetch

SECONDS = st.floats(min_value=1e-7, max_value=1e4)


def prefetch_of(job: float, fetch: float) -> Prefetch:
    prefetch = Prefetch()
    prefetch.job_took(job)
    prefetch.fetch_took(fetch)
    return prefetch


@given(SECONDS, SECONDS, st.integers(min_value=0, max_value=10_000))
def test_the_room_is_that_of_the_formula(job: float, fetch: float, threads: int) -> None:
    ahead = min(max(2 * fetch, 0.005), BUFFER_HORIZON_SECONDS)
    expected = ahead * threads / job
    room = prefetch_of(job, fetch).room(threads)
    assert 0 <= room <= MAX_BUFFER
    # Division and product may round apart by one.
    assert abs(room - min(MAX_BUFFER, int(expected))) <= 1


def test_quick_jobs_on_a_distant_server_are_buffered_and_slow_ones_are_not() -> None:
    assert prefetch_of(job=0.001, fetch=0.01).room(10) == 200
    assert prefetch_of(job=0.001, fetch=0.1).room(10) == 500  # the horizon bounds it
    assert prefetch_of(job=1.0, fetch=0.01).room(10) == 0
    assert prefetch_of(job=1e-6, fetch=0.01).room(10) == MAX_BUFFER


def test_near_server_is_asked_no_more_often_than_the_interpreter_lets_the_fetcher_run() -> None:
    # Fifty threads whose jobs take ten ms: half of them end within S.
    assert prefetch_of(job=0.01, fetch=0.0002).room(50) == 25


def test_nothing_is_buffered_before_both_durations_are_known() -> None:
    prefetch = Prefetch()
    assert prefetch.room(10) == 0
    prefetch.job_took(0.001)
    assert prefetch.room(10) == 0
    prefetch = Prefetch()
    prefetch.fetch_took(0.01)
    assert prefetch.room(10) == 0


def test_jobs_that_take_no_time_fill_the_buffer() -> None:
    assert prefetch_of(job=0.0, fetch=0.01).room(1) == MAX_BUFFER


def test_without_threads_there_is_no_room() -> None:
    assert prefetch_of(job=0.001, fetch=0.01).room(0) == 0


def test_a_stall_empties_the_room_until_a_job_ends() -> None:
    prefetch = prefetch_of(job=0.001, fetch=0.01)
    prefetch.stalled = True
    assert prefetch.room(10) == 0
    prefetch.job_took(0.001)
    assert prefetch.room(10) == 200


def test_averages_follow_what_is_observed() -> None:
    prefetch = prefetch_of(job=0.001, fetch=0.01)
    for _ in range(100):
        prefetch.job_took(0.1)
    assert prefetch.room(10) == 2
    for _ in range(100):
        prefetch.fetch_took(0.001)
    assert prefetch.room(10) == 0


def test_fetch_over_a_distant_line_waits_a_moment_for_threads_that_end_soon() -> None:
    assert prefetch_of(job=0.0001, fetch=0.016).gather() == 0.002
    # The job takes longer than that moment.
    assert prefetch_of(job=0.003, fetch=0.016).gather() == 0.0
    # A near server answers before a sleep is over.
    assert prefetch_of(job=0.0001, fetch=0.002).gather() == 0.0
    assert Prefetch().gather() == 0.0
    # Of a process that was stopped in the middle of a fetch.
    assert prefetch_of(job=0.0001, fetch=3600.0).gather() == 0.01
    stalled = prefetch_of(job=0.0001, fetch=0.016)
    stalled.stalled = True
    assert stalled.gather() == 0.0
