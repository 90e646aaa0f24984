"""Limits and tunables that have to fit each other."""

from __future__ import annotations

import re
from datetime import timedelta

from spinach import const


def test_defaults_are_those_that_are_promised() -> None:
    assert const.DEFAULT_QUEUE == const.DEFAULT_NAMESPACE == "spinach"
    assert const.DEFAULT_MAX_RETRIES == 0
    assert const.DEFAULT_WORKER_NUMBER == 5
    assert timedelta(seconds=30) == const.DEFAULT_LEASE
    assert const.DEFAULT_MAX_PAYLOAD_BYTES == 512 * 1024
    assert timedelta(seconds=1) == const.MIN_PERIODICITY
    assert const.MAX_LOSSES == 3
    assert (const.RECOVERY_BASE_SECONDS, const.RECOVERY_CAP_SECONDS) == (3, 1200)


def test_who_is_told_of_a_death_is_done_or_dead_when_another_is() -> None:
    beat_ms = 1000 * const.DEFAULT_LEASE.total_seconds() / const.BEATS_PER_LEASE
    assert beat_ms < const.NAMING_MS < 2 * beat_ms


def test_a_timekeeper_that_waits_idly_keeps_its_office() -> None:
    assert const.TIMEKEEPER_MS - const.RENEWAL_MS > 1000 * const.BLOCK_SECONDS


def test_a_lease_outlives_a_lost_beat_and_the_margin() -> None:
    lease = const.DEFAULT_LEASE.total_seconds()
    beat = lease / const.BEATS_PER_LEASE
    assert beat == 10
    assert 2 * beat <= lease - const.LEASE_MARGIN_SECONDS


def test_a_wait_for_a_wake_up_is_shorter_than_a_beat() -> None:
    assert const.DEFAULT_LEASE.total_seconds() / const.BEATS_PER_LEASE > const.BLOCK_SECONDS


def test_the_largest_job_fits_into_a_fetch() -> None:
    assert const.DEFAULT_MAX_PAYLOAD_BYTES < const.MAX_FETCH_BYTES


def test_the_retries_limit_fits_the_digits_of_the_header() -> None:
    assert len(str(const.MAX_RETRIES_LIMIT)) <= 7


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:[a-z]+\d+)?", const.VERSION)
