"""The first line of a record: what is written is read, and what cannot be read is parked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach.record.header import Header, UnreadableRecord, header_line, read_header
from spinach.record.names import NAME_PATTERN
from spinach.record.payload import decode_payload

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)


@given(st.integers(min_value=0, max_value=1_000_000), NAMES, NAMES)
def test_the_header_comes_back(max_retries: int, queue: str, task: str) -> None:
    line = header_line(max_retries=max_retries, queue=queue, task=task)
    assert read_header(line + b"[[],{},0]") == Header(max_retries, queue, task)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


@given(st.binary(max_size=60))
def test_bytes_from_elsewhere_are_unreadable_and_nothing_worse(record: bytes) -> None:
    for read in (read_header, decode_payload):
        try:
            read(record)
        except UnreadableRecord:
            pass


@pytest.mark.parametrize(
    ("record", "park"),
    [
        (b"2|0|-|q|t\n[[],{},0]", "record|2"),
        (b"17|whatever comes then\n", "record|17"),
        (b"1|0|k|q|t\n[[],{},0]", "record|1+k"),
        (b"1|0|-|q\n[[],{},0]", "record|damaged"),
        (b"0|0|-|q|t\n", "record|damaged"),
        (b"99999|0|-|q|t\n", "record|damaged"),
        (b"1|0|-|q|t", "record|damaged"),
        (b"", "record|damaged"),
        (b"\n", "record|damaged"),
        (b"1|-1|-|q|t\n", "record|damaged"),
        (b"1|0|-|q q|t\n", "record|damaged"),
    ],
)
def test_an_unknown_record_tells_where_it_waits_for_a_release_that_reads_it(
    record: bytes, park: str
) -> None:
    with pytest.raises(UnreadableRecord, match="Run it with the release") as info:
        read_header(record)
    assert info.value.park == park


def test_a_header_has_the_names_that_are_allowed_and_no_others() -> None:
    record = header_line(max_retries=1, queue="mail/eu", task="a/b@c") + b"[[],{},0]"
    assert read_header(record) == Header(1, "mail/eu", "a/b@c")
    with pytest.raises(UnreadableRecord):
        read_header(b"1|1|-|mail eu|a\n[[],{},0]")
