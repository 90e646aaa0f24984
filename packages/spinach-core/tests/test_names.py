"""Names of tasks, queues and namespaces: which are allowed, and what is said of others."""

from __future__ import annotations

import enum
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach.exc import InvalidName
from spinach.record.names import NAME_PATTERN, check_name

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)


class Colour(enum.StrEnum):
    RED = "red"


@given(NAMES)
def test_names_of_the_pattern_pass(name: str) -> None:
    assert check_name(name, "task") == name


@pytest.mark.parametrize("what", ["task", "queue", "namespace"])
@pytest.mark.parametrize(
    "name", ["", "a b", "ä", "a\n", "a|b", "{a}", "x" * 201, None, 5, b"a", ["a"]]
)
def test_other_names_are_refused_with_what_is_allowed(name: Any, what: str) -> None:
    with pytest.raises(InvalidName) as info:
        check_name(name, what)
    assert f"{what} name is {name!r}" in str(info.value)
    assert "1 to 200 of the characters A-Z a-z 0-9 _ . : -" in str(info.value)


@pytest.mark.parametrize("name", ["mail/send", "mail.send@example.org", "/", "@"])
def test_tasks_and_queues_may_have_slashes_and_at_signs_but_namespaces_may_not(name: str) -> None:
    assert check_name(name, "task") == check_name(name, "queue") == name
    with pytest.raises(InvalidName, match=r"expected 1 to 200 .* 0-9 _ \. : -(\. Replace|$)"):
        check_name(name, "namespace")


@pytest.mark.parametrize(
    ("name", "what", "usable"),
    [
        ("send mail", "task", "'send_mail'"),
        ("mail/send now", "queue", "'mail/send_now'"),
        ("prod/eu", "namespace", "'prod_eu'"),
    ],
)
def test_a_refused_name_is_answered_with_one_that_is_allowed(
    name: str, what: str, usable: str
) -> None:
    with pytest.raises(InvalidName, match=rf"Replace the others, as in {usable}\.$"):
        check_name(name, what)


@pytest.mark.parametrize("name", ["", "ä", "x" * 201, None])
def test_what_is_no_name_at_all_is_answered_without_one(name: object) -> None:
    with pytest.raises(InvalidName) as info:
        check_name(name, "queue")
    assert "Replace" not in str(info.value)


def test_only_queues_have_reserved_names() -> None:
    assert check_name("_x", "task") == "_x"
    with pytest.raises(InvalidName, match=r"'_x'.*reserved.*starts with a letter or a digit"):
        check_name("_x", "queue")


def test_a_name_of_a_str_subclass_comes_back_plain() -> None:
    assert type(check_name(Colour.RED, "queue")) is str


@pytest.mark.parametrize("name", ["a", "A.b-c_d:9", "x" * 200, "mail/send", "a@b", "/"])
def test_these_are_names(name: str) -> None:
    assert NAME_PATTERN.fullmatch(name)


@pytest.mark.parametrize("name", ["", "x" * 201, "a b", "é", "a\n", "a|b", "{x}"])
def test_these_are_none(name: str) -> None:
    assert not NAME_PATTERN.fullmatch(name)


@pytest.mark.parametrize(
    ("what", "signs"), [("task", "_.:-/@"), ("queue", "_.:-/@"), ("namespace", "_.:-")]
)
def test_a_name_has_letters_digits_and_the_signs_that_the_error_lists(
    what: str, signs: str
) -> None:
    allowed = {*string.ascii_letters, *string.digits, *signs}
    refusals = set()
    for character in map(chr, range(256)):
        try:
            assert check_name(f"a{character}", what)[1:] in allowed
        except InvalidName as exc:
            assert character not in allowed
            refusals.add(str(exc).partition("expected ")[2].partition(". Replace")[0])
    assert refusals == {f"1 to 200 of the characters A-Z a-z 0-9 {' '.join(signs)}"}
