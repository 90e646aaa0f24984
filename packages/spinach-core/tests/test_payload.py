"""Arguments: what goes in comes out, and what would not is refused with its place."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import sys
import uuid
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach.exc import InvalidArgument, PayloadTooLarge
from spinach.record.header import UnreadableRecord, header_line
from spinach.record.payload import (
    MAX_ARGUMENT_DEPTH,
    complete_payload,
    decode_payload,
    encode_arguments,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def record_of(args: Any, kwargs: Any, at_ms: int = 0, limit: int = 10**9) -> bytes:
    arguments = encode_arguments(args, kwargs, task="t")
    payload = complete_payload(arguments, at_ms, limit_bytes=limit, task="t")
    return header_line(max_retries=0, queue="q", task="t") + payload


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, down to the sign of a zero."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@given(
    st.lists(VALUES, max_size=4),
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.integers(min_value=-(2**53), max_value=2**53),
)
def test_arguments_come_back_with_their_types(
    args: list[Any], kwargs: dict[str, Any], at_ms: int
) -> None:
    back_args, back_kwargs, back_at = decode_payload(record_of(args, kwargs, at_ms))
    assert same(args, back_args)
    assert same(kwargs, back_kwargs)
    assert back_at == at_ms


def test_a_text_may_hold_line_ends_and_everything_else() -> None:
    text = 'a\nb\0c"\\\u2028\U0001f600'
    assert decode_payload(record_of([text], {}))[0] == [text]


def test_an_int_of_any_size_comes_back_exact() -> None:
    assert decode_payload(record_of([2**64, -(10**4000)], {}))[0] == [2**64, -(10**4000)]


class Colour(enum.IntEnum):
    RED = 1


class Word(str):
    def __str__(self) -> str:
        return "something else"


class Half(float):
    def __float__(self) -> float:
        return 99.0


class Point(NamedTuple):
    x: int
    y: int


class StrColour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        (Colour.RED, 1),
        (StrColour.RED, "red"),
        (Word("word"), "word"),
        (Half(0.5), 0.5),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        ({Word("key"): 1}, {"key": 1}),
        ([True, 1, 1.0], [True, 1, 1.0]),
    ],
)
def test_subclasses_come_back_as_their_base_and_tuples_as_lists(sent: Any, received: Any) -> None:
    (back,), _, _ = decode_payload(record_of([sent], {}))
    assert same(back, received)


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset(),
        b"bytes",
        bytearray(b"x"),
        datetime.date(2030, 1, 1),
        datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        decimal.Decimal("1.5"),
        uuid.UUID(int=0),
        1j,
        object(),
        print,
        math.nan,
        math.inf,
        -math.inf,
        range(3),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_would_not_come_back_equal_is_refused_with_value_and_remedy(value: Any) -> None:
    with pytest.raises(InvalidArgument) as info:
        encode_arguments((), {"options": {"list": [0, value]}}, task="mail.send")
    message = str(info.value)
    assert "argument 'options'['list'][1]" in message
    assert "'mail.send'" in message
    assert f"of type {type(value).__name__}" in message
    assert "Send str, int, finite float" in message


def test_a_subclass_of_float_cannot_smuggle_in_a_nan() -> None:
    with pytest.raises(InvalidArgument, match="JSON has no such number"):
        encode_arguments((Half(math.nan),), {}, task="t")


@pytest.mark.parametrize("key", [1, None, 1.5, True, (1, 2), b"k"])
def test_a_key_that_is_no_text_is_refused_with_its_place(key: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"argument 2\['a'\].*keys must be str"):
        encode_arguments((0, {"a": {key: 1}}), {}, task="t")


class Twin(str):
    """A key that a dictionary tells from its own text."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 5

    def __eq__(self, other: object) -> bool:
        return self is other


def test_keys_that_would_fall_together_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="two of its keys are the same text"):
        encode_arguments(({Twin("a"): 1, "a": 2},), {}, task="t")


def test_positions_are_counted_from_one_as_people_do() -> None:
    with pytest.raises(InvalidArgument, match="in argument 3 of task 't'"):
        encode_arguments((0, 0, {1}), {}, task="t")


def test_a_structure_that_contains_itself_is_refused() -> None:
    knot: list[Any] = []
    knot.append(knot)
    with pytest.raises(InvalidArgument, match="contains itself"):
        encode_arguments((knot,), {}, task="t")


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_is_bounded_and_what_is_allowed_comes_back() -> None:
    deepest = nested(MAX_ARGUMENT_DEPTH)
    assert decode_payload(record_of([deepest], {}))[0] == [deepest]
    with pytest.raises(InvalidArgument, match=f"deeper than {MAX_ARGUMENT_DEPTH}"):
        encode_arguments((nested(MAX_ARGUMENT_DEPTH + 1),), {}, task="t")


@pytest.mark.parametrize("where", ["value", "key"])
def test_half_a_surrogate_pair_is_refused(where: str) -> None:
    value: Any = "\ud800" if where == "value" else {"\ud800": 1}
    with pytest.raises(InvalidArgument, match="lone surrogate"):
        encode_arguments((value,), {}, task="t")


def test_an_int_beyond_pythons_digits_is_refused() -> None:
    digits = sys.get_int_max_str_digits()
    with pytest.raises(InvalidArgument, match="Send it as text"):
        encode_arguments((10 ** (digits + 1),), {}, task="t")


def test_the_limit_counts_bytes_and_admits_its_own_size() -> None:
    arguments = encode_arguments(("ä" * 100,), {}, task="index")
    size = len(complete_payload(arguments, 0, limit_bytes=10**6, task="index"))
    assert size > 200
    assert len(complete_payload(arguments, 0, limit_bytes=size, task="index")) == size
    with pytest.raises(PayloadTooLarge) as info:
        complete_payload(arguments, 0, limit_bytes=size - 1, task="index")
    assert f"{size} bytes" in str(info.value)
    assert f"limit is {size - 1}" in str(info.value)
    assert "send a reference" in str(info.value)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[", b"{}", b"[]", b"[[],{}]", b"[[],{},null]", b"[1,{},0]", b"[[],[1],0]", b"\xff"],
)
def test_a_damaged_payload_says_so(payload: bytes) -> None:
    with pytest.raises(UnreadableRecord, match="damaged") as info:
        decode_payload(b"1|0|-|q|t\n" + payload)
    assert info.value.park == "record|damaged"


def test_further_elements_of_a_payload_are_passed_over() -> None:
    record = b'1|0|-|q|t\n[[1],{"a":2},3,{"trace":"x"}]'
    assert decode_payload(record) == ([1], {"a": 2}, 3)
