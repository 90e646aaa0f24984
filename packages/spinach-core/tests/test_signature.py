"""Whether arguments fit, told as `inspect.Signature.bind` tells it, and faster."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach.definition.signature import CallSignature


def plain(a: Any, b: Any) -> None: ...


def defaults(a: Any, b: Any = 1, c: Any = 2) -> None: ...


def nothing() -> None: ...


def positional(a: Any, b: Any = 1, /, c: Any = 2) -> None: ...


def named(*, a: Any, b: Any = 1) -> None: ...


def mixed(a: Any, /, b: Any, c: Any = 1, *, d: Any, e: Any = 2) -> None: ...


def many(a: Any, *b: Any) -> None: ...


def options(a: Any, **b: Any) -> None: ...


def anything(*a: Any, **b: Any) -> None: ...


def shadow(a: Any, /, **b: Any) -> None: ...


def like_schedule(task: Any, at: Any, self: Any = 1) -> None: ...


class Handler:
    def __call__(self, a: Any, b: Any = 1) -> None: ...

    def method(self, a: Any, *, d: Any = 1) -> None: ...

    @classmethod
    def made(cls, a: Any, b: Any) -> None: ...


FUNCTIONS: list[Callable[..., Any]] = [
    plain,
    defaults,
    nothing,
    positional,
    named,
    mixed,
    many,
    options,
    anything,
    shadow,
    like_schedule,
    Handler(),
    Handler().method,
    Handler.made,
    lambda a, b=1: None,
]


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "task", "at", "self"]), st.none()),
)
def test_it_agrees_with_bind(
    function: Callable[..., Any], args: list[int], kwargs: dict[str, None]
) -> None:
    try:
        inspect.signature(function).bind(*args, **kwargs)
        expected = None
    except TypeError as exc:
        expected = str(exc)
    signature = CallSignature(function)
    assert signature.problem(args, kwargs) == expected
    assert signature.problem(args, kwargs) == expected  # what it remembers says the same


def test_a_function_without_a_signature_accepts_everything() -> None:
    class Unreadable:
        __signature__ = "none"

        def __call__(self) -> None: ...

    signature = CallSignature(Unreadable())
    assert signature.problem((1, 2), {"x": 3}) is None
    assert str(signature) == "(...)"


def test_it_shows_as_people_write_it() -> None:
    assert str(CallSignature(lambda a, *, b=1: None)) == "(a, *, b=1)"


def test_annotations_show_without_quotes() -> None:
    def annotated(a: list[int], *, b: str = "x") -> int:
        return 1

    assert str(CallSignature(annotated)) == "(a: list[int], *, b: str = 'x') -> int"


@pytest.mark.concurrency
def test_many_threads_may_ask_at_once() -> None:
    signature = CallSignature(mixed)
    start = threading.Barrier(8)
    wrong: list[Any] = []

    def ask(thread: int) -> None:
        start.wait(30)
        for count in range(200):
            positional_count = count % 4
            fits = positional_count >= 1 and signature.problem(
                range(positional_count), {"d": 0} if positional_count > 1 else {"b": 1, "d": 0}
            )
            if fits not in (None, False):
                wrong.append((thread, count, fits))
            if signature.problem((), {}) is None:
                wrong.append((thread, count, "accepted"))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
