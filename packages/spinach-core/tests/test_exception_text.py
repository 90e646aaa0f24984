"""What exceptions say of themselves, whatever their classes do; and jobs that raise them."""

from __future__ import annotations

import linecache
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from spinach import AbortException, Engine, MemoryBroker, RetryException, signals
from spinach.support.exception_text import (
    class_name,
    line_of,
    message_of,
    shown,
    stack_of,
    stack_text,
    trace_of,
    traceback_of,
)
from spinach.worker.worker import describe


class Raises:
    """A descriptor that raises when asked, on a class or an object."""

    def __init__(self, err: BaseException) -> None:
        self.err = err

    def __get__(self, owner: object, kind: type | None = None) -> Any:
        raise self.err


def raising(*_: object, **__: object) -> Any:
    raise RuntimeError("refused")


def with_metaclass(*names: str) -> type[Exception]:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            return raising() if name in names else super().__getattribute__(name)

    return Meta("Hostile", (Exception,), {})


class Text(str):
    encode = raising  # type: ignore[assignment]


class Group(ExceptionGroup):
    exceptions = property(raising)  # type: ignore[assignment]


class Liar(Exception):
    __class__ = property(raising)  # type: ignore[assignment]


def make(name: str, **attributes: Any) -> Callable[[], BaseException]:
    return lambda: type(name, (Exception,), attributes)("broken")


def noted(notes: object) -> BaseException:
    err = ValueError("broken")
    err.__notes__ = notes  # type: ignore[assignment]
    return err


def recursive() -> BaseException:
    err: BaseException = ValueError("broken")
    for _ in range(2000):
        err = ExceptionGroup("deep", [err])  # type: ignore[list-item]
    return err


def ring() -> BaseException:
    one, two = ValueError("broken"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "metaclass, __module__": lambda: with_metaclass("__module__")("broken"),
    "metaclass, all names": lambda: with_metaclass("__module__", "__qualname__", "__name__")(
        "broken"
    ),
    "module that is no text": make("Hostile", __module__=5),
    "module that raises": make("Hostile", __module__=Raises(RuntimeError("refused"))),
    "surrogates in its names": make("Hostile", __module__="m\ud800", __qualname__="q\udfff"),
    "__str__": make("Hostile", __str__=raising),
    "__str__ that exits": make("Hostile", __str__=lambda self: (_ for _ in ()).throw(SystemExit)),
    "__str__ that is no text": make("Hostile", __str__=lambda self: 5),
    "__str__ of a subclass": make("Hostile", __str__=lambda self: Text("broken")),
    "__str__ that calls itself": make("Hostile", __str__=lambda self: str(self)),
    "__getattribute__": make("Hostile", __getattribute__=raising),
    "__class__": lambda: Liar("broken"),
    "__traceback__": make("Hostile", __traceback__=Raises(RuntimeError())),
    "__cause__": make("Hostile", __cause__=Raises(RuntimeError())),
    "__context__": make("Hostile", __context__=Raises(SystemExit())),
    "__notes__": make("Hostile", __notes__=Raises(KeyboardInterrupt())),
    "notes that are no list": lambda: noted(5),
    "notes that are no texts": lambda: noted([object(), type("N", (), {"__str__": raising})()]),
    "a ring of causes": ring,
    "group": lambda: Group("broken", [ValueError()]),
    "deep group": recursive,
}


def caught(err: BaseException) -> BaseException:
    try:
        raise err
    except BaseException as exc:
        return exc


@pytest.mark.parametrize("case", HOSTILE)
def test_every_exception_can_be_described_and_stored(case: str) -> None:
    failure = describe(caught(HOSTILE[case]()))
    for text in (failure.error, failure.message, failure.traceback):
        assert type(text) is str
        assert text.encode()
    line_of(HOSTILE[case]()).encode()
    shown(HOSTILE[case]()).encode()


@pytest.mark.concurrency
@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("retries", [0, 1])
def test_no_exception_ends_a_worker_or_loses_its_job(
    case: str, retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(MemoryBroker(), "hostile", random_source=Now())
    made = HOSTILE[case]
    told: list[str] = []

    @engine.task(name="hostile", max_retries=retries)
    def hostile() -> None:
        raise made()

    def receiver(sender: str, **_: Any) -> None:
        told.append("failed")

    engine.schedule(hostile)
    engine.task(name="after")(lambda: told.append("after"))
    engine.schedule("after")
    handler = logging.StreamHandler(stream=Sink())
    logger = logging.getLogger("spinach")
    # Not all of these can be handed from one process of pytest-xdist to another.
    monkeypatch.setattr(logger, "propagate", False)
    logger.addHandler(handler)
    try:
        with signals.job_failed.connected_to(receiver, "hostile"):
            engine.start_workers(1, stop_when_queue_empty=True)
    finally:
        logger.removeHandler(handler)
    assert sorted(told) == ["after", "failed"]
    (entry,) = engine.failed.list()
    assert entry.job.retries == retries


class Now:
    """Lets no retry wait."""

    def uniform(self, low: float, high: float) -> float:
        return 0.0


class Sink:
    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


@pytest.mark.concurrency
def test_a_receiver_whose_exception_and_repr_raise_ends_no_worker() -> None:
    class Receiver:
        __repr__ = raising

        def __call__(self, sender: str, **_: Any) -> None:
            raise with_metaclass("__module__", "__qualname__", "__name__")("broken")

    engine = Engine(MemoryBroker(), "receivers")
    done: list[int] = []
    engine.task(name="t")(lambda: done.append(1))
    receiver = Receiver()
    with (
        signals.worker_started.connected_to(receiver, "receivers"),
        signals.job_finished.connected_to(receiver, "receivers"),
        signals.worker_terminated.connected_to(receiver, "receivers"),
    ):
        engine.schedule("t")
        engine.schedule("t")
        engine.start_workers(1, stop_when_queue_empty=True)
    assert done == [1, 1]


@pytest.mark.concurrency
def test_signals_of_a_failure_are_sent_although_a_log_filter_raises(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(MemoryBroker(), "handlers")
    heard: list[BaseException] = []
    engine.task(name="broken")(lambda: 1 // 0)

    def refuse(record: logging.LogRecord) -> bool:
        raise SystemExit(record.msg)

    caplog.set_level(logging.DEBUG, "spinach")
    for name in ("spinach.job", "spinach.worker"):
        monkeypatch.setattr(logging.getLogger(name), "filters", [refuse])

    def receiver(sender: str, err: BaseException, **_: Any) -> None:
        heard.append(err)

    with signals.job_failed.connected_to(receiver, "handlers"):
        engine.schedule("broken")
        engine.start_workers(1, block=False)
        wait_until_failed(engine)
        engine.stop_workers()
    assert [type(err) for err in heard] == [ZeroDivisionError]


def wait_until_failed(engine: Engine) -> None:
    for _ in range(100_000):
        if engine.failed.list():
            return
    raise AssertionError("the job did not fail")


def test_names_and_texts_are_those_that_python_shows() -> None:
    err = caught(KeyError("key"))
    assert class_name(type(err)) == "builtins.KeyError"
    assert message_of(err) == "'key'"
    assert line_of(err) == "KeyError: 'key'"
    assert shown([1]) == "[1]"
    assert message_of(ValueError("\ud800")) == r"\ud800"


def test_what_cannot_be_shown_leaves_the_stack() -> None:
    def fails() -> None:
        raise with_metaclass("__module__")("broken")

    try:
        fails()
    except Exception as exc:
        text = traceback_of(exc)
        trace = trace_of(exc)
    assert trace is not None
    assert trace.tb_frame.f_code.co_name == "fails"
    assert 'raise with_metaclass("__module__")("broken")' in text
    assert "Hostile: broken" in text


def test_only_the_class_says_whether_an_exception_asks_for_something() -> None:
    engine = Engine(MemoryBroker(), "liars", random_source=Now())
    ran: list[int] = []

    class Pretends(Exception):
        @property
        def __class__(self) -> Any:
            return AbortException if not ran[1:] else RetryException

        @__class__.setter
        def __class__(self, value: Any) -> None: ...

    @engine.task(name="pretends", max_retries=2)
    def pretends() -> None:
        ran.append(1)
        raise Pretends

    engine.schedule("pretends")
    engine.start_workers(1, stop_when_queue_empty=True)
    assert len(ran) == 3


# -- stacks -------------------------------------------------------------------------


def test_a_stack_is_shown_as_python_shows_it() -> None:
    shown, expected = stack_text(stack_of(sys._getframe())), "".join(traceback.format_stack())
    assert shown == expected


def test_a_deep_stack_is_cut_to_where_the_thread_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(depth: int) -> str:
        return second(depth - 1) if depth else stack_text(stack_of(sys._getframe()))

    def second(depth: int) -> str:
        return first(depth)

    short = first(300)
    assert short.count("  File ") == 100
    assert short.endswith("stack_text(stack_of(sys._getframe()))\n")
    # A line of source may be as long as a file.
    monkeypatch.setattr(linecache, "getline", lambda *_: "x" * 100_000)
    assert len(first(3)) == 16 * 1024


class Loader:
    """Has no source, and says so in a way of its own."""

    get_source = raising


def test_a_stack_whose_sources_cannot_be_read_is_shown_without_them() -> None:
    module: dict[str, Any] = {"__loader__": Loader(), "__name__": "hostile"}
    exec(compile("def call(function):\n    return function()\n", "hostile.py", "exec"), module)
    # As any traceback of it does that Python shows.
    assert linecache.lazycache("hostile.py", module)
    with pytest.raises(RuntimeError, match="refused"):
        linecache.getline("hostile.py", 1)
    stack = module["call"](lambda: stack_of(sys._getframe()))
    assert '  File "hostile.py", line 2, in call\n' in stack_text(stack)
    linecache.cache.pop("hostile.py")
