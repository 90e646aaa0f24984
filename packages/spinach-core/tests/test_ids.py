"""Ids of jobs, and those under which they are stored."""

from __future__ import annotations

import uuid

import pytest

from spinach.record.ids import job_id_of, may_repeat, new_ids, stored_id


def test_names_are_random_uuids_as_text() -> None:
    names = new_ids(1000)
    assert len(set(names)) == 1000
    for name in names:
        number = uuid.UUID(name)
        assert (str(number), number.version, number.variant) == (name, 4, uuid.RFC_4122)


def test_each_random_bit_takes_both_values() -> None:
    numbers = [uuid.UUID(name).int for name in new_ids(1000)]
    always, never = ~0, ~0
    for number in numbers:
        always &= number
        never &= ~number
    # Four bits of the version, two of the variant; the first of either is set.
    fixed = (0xF000 << 64) | (0b11 << 62)
    everything = (1 << 128) - 1
    assert always & everything == (0x4000 << 64) | (0b10 << 62)
    assert never & everything == fixed & ~always


def test_none_are_made_for_an_empty_batch() -> None:
    assert new_ids(0) == []


@pytest.mark.parametrize(("max_retries", "stored"), [(0, "0abc"), (1, "1abc"), (1_000_000, "1abc")])
def test_the_stored_id_tells_the_kind(max_retries: int, stored: str) -> None:
    assert stored_id("abc", max_retries) == stored
    assert job_id_of(stored_id("abc", max_retries)) == "abc"
    assert may_repeat(stored_id("abc", max_retries)) == (max_retries > 0)
