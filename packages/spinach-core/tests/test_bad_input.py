"""Everything that is refused, each with its error, the value given, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from spinach import Batch, Engine, RetryException, Tasks
from spinach.exc import (
    BrokerInUse,
    DuplicateTask,
    InvalidArgument,
    InvalidJobSignatureError,
    InvalidName,
    InvalidTask,
    PayloadTooLarge,
    SpinachError,
    TasksNotAttached,
    UnknownTask,
    WorkersRunning,
)
from spinach_memory import MemoryBroker


def compute(a: int, b: int) -> int:
    return a + b


async def coroutine() -> None: ...


def generator() -> Any:
    yield


async def async_generator() -> Any:
    yield


class AsyncCallable:
    async def __call__(self) -> None: ...


class GeneratorCallable:
    def __call__(self) -> Any:
        yield


class AsyncMethod:
    async def method(self) -> None: ...


LATE = datetime(9999, 6, 1, tzinfo=UTC)


class Apart(str):
    """A text that a dict takes for another one than the same text."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Bad(NamedTuple):
    """A call that has to be refused."""

    call: Callable[[Engine], Any]
    error: type[SpinachError]
    #: What the message has to name: the value, and the remedy.
    words: tuple[str, ...]


def registry(**options: Any) -> Tasks:
    return Tasks(**options)


def add(func: Any = compute, name: Any = "compute", **options: Any) -> Callable[[Engine], Any]:
    return lambda engine: engine._tasks.add(func, name, **options)


def twice_in_one_registry(engine: Engine) -> None:
    tasks = Tasks()
    tasks.add(compute, "compute")
    tasks.add(print, "compute")


def the_same_name_from_two_registries(engine: Engine) -> None:
    tasks = Tasks()
    tasks.add(print, "compute")
    engine.attach_tasks(tasks)


def one_function_under_two_names(engine: Engine) -> None:
    engine._tasks.add(compute, "again")
    engine.schedule(compute, 1, 2)


def without_parentheses(engine: Engine) -> None:
    @engine.task
    def report() -> None: ...


def a_broker_for_two(engine: Engine) -> None:
    broker = MemoryBroker()
    Engine(broker, "shop")
    Engine(broker, "blog")


def a_swapped_broker_that_is_taken(engine: Engine) -> None:
    broker = MemoryBroker()
    Engine(broker, "shop")
    with engine.using_broker(broker):
        pass


def a_batch_used_twice(engine: Engine) -> None:
    batch = Batch()
    batch.schedule("compute", 1, 2)
    engine.schedule_batch(batch)
    engine.schedule_batch(batch)


REFUSED: dict[str, Bad] = {
    # Which task
    "unknown task": Bad(
        lambda e: e.schedule("compuet", 1, 2),
        UnknownTask,
        ("'compuet'", "'compute'", "@tasks.task(name=...)", "attach_tasks"),
    ),
    "unknown function": Bad(lambda e: e.schedule(print), UnknownTask, ("print", "Register it")),
    "unknown task in a batch": Bad(
        lambda e: e.schedule_batch(_batch("compuet")), UnknownTask, ("'compuet'", "'compute'")
    ),
    "unknown task to execute": Bad(lambda e: e.execute("no"), UnknownTask, ("'no'", "compute")),
    "unknown task at a date": Bad(
        lambda e: e.schedule_at("compuet", "noon"), UnknownTask, ("'compuet'",)
    ),
    "unknown in a registry": Bad(lambda e: Tasks().get("x"), UnknownTask, ("'x'", "none")),
    "something that is no task": Bad(lambda e: e.schedule(5), UnknownTask, ("5", "compute")),
    "one function, two names": Bad(
        one_function_under_two_names, InvalidTask, ("'compute', 'again'", "by name")
    ),
    "registry without an engine": Bad(
        lambda e: Tasks().schedule("compute"), TasksNotAttached, ("none", "attach_tasks(tasks)")
    ),
    "registry without an engine, at": Bad(
        lambda e: Tasks().schedule_at("compute", date(2030, 1, 1)),
        TasksNotAttached,
        ("attach_tasks",),
    ),
    "registry without an engine, batch": Bad(
        lambda e: Tasks().schedule_batch(Batch()), TasksNotAttached, ("attach_tasks",)
    ),
    # Names
    "duplicate in a registry": Bad(
        twice_in_one_registry, DuplicateTask, ("'compute'", "function compute", "name of its own")
    ),
    "duplicate over registries": Bad(
        the_same_name_from_two_registries, DuplicateTask, ("'compute'", "print", "another name")
    ),
    "duplicate on the engine": Bad(add(print), DuplicateTask, ("'compute'", "name of its own")),
    "replace": Bad(add(print, replace=1), InvalidTask, ("replace is 1", "True or False")),
    "task name": Bad(add(name="a b"), InvalidName, ("task name is 'a b'", "A-Z a-z 0-9 _ . : -")),
    "empty task name": Bad(add(name=""), InvalidName, ("task name is ''", "1 to 200")),
    "long task name": Bad(add(name="x" * 201), InvalidName, ("x" * 201, "1 to 200")),
    "task name that is no text": Bad(add(name=5), InvalidName, ("task name is 5", "1 to 200")),
    "queue name": Bad(add(queue="a|b"), InvalidName, ("queue name is 'a|b'", "as in 'a_b'")),
    "reserved queue": Bad(add(queue="_q"), InvalidName, ("'_q'", "reserved", "starts with a let")),
    "queue of a registry": Bad(lambda e: registry(queue=""), InvalidName, ("queue name is ''",)),
    "queue to consume": Bad(lambda e: e.start_workers(queue="a b"), InvalidName, ("'a b'",)),
    "reserved queue to consume": Bad(
        lambda e: e.start_workers(queue=["a", "_b"]), InvalidName, ("'_b'", "reserved")
    ),
    "namespace": Bad(
        lambda e: Engine(MemoryBroker(), "a{b}"), InvalidName, ("namespace name is 'a{b}'",)
    ),
    # What a task may be
    "coroutine function": Bad(
        add(coroutine, "x"), InvalidTask, ("coroutine", "async function", "asyncio.run(...)")
    ),
    "async generator function": Bad(
        add(async_generator, "x"), InvalidTask, ("async_generator", "async function", "plain")
    ),
    "generator function": Bad(
        add(generator, "x"), InvalidTask, ("generator function", "consumes the generator")
    ),
    "async __call__": Bad(
        add(AsyncCallable(), "x"), InvalidTask, ("AsyncCallable", "asyncio.run(...)")
    ),
    "generator __call__": Bad(
        add(GeneratorCallable(), "x"), InvalidTask, ("GeneratorCallable", "consumes the generator")
    ),
    "async method": Bad(
        add(AsyncMethod().method, "x"), InvalidTask, ("AsyncMethod.method", "asyncio.run(...)")
    ),
    "not a callable": Bad(
        add("compute", "x"), InvalidTask, ("'compute' of type str", "Register a function")
    ),
    "decorator without parentheses": Bad(
        without_parentheses, InvalidTask, ("report", "@tasks.task(name='report')")
    ),
    "decorator without a name": Bad(
        lambda e: e.task(queue="q"), InvalidTask, ("@tasks.task(name='my.task')",)
    ),
    # Numbers of a task
    "negative retries": Bad(
        add(name="x", max_retries=-1), InvalidTask, ("max_retries is -1", "from 0 to 1000000")
    ),
    "retries as bool": Bad(add(name="x", max_retries=True), InvalidTask, ("max_retries is True",)),
    "retries as float": Bad(add(name="x", max_retries=1.5), InvalidTask, ("max_retries is 1.5",)),
    "retries of a registry": Bad(
        lambda e: registry(max_retries=-1), InvalidTask, ("max_retries is -1", "an int from 0")
    ),
    "concurrency of zero": Bad(
        add(name="x", max_concurrency=0), InvalidTask, ("max_concurrency is 0", "from 1 to")
    ),
    "concurrency of a registry": Bad(
        lambda e: registry(max_concurrency="2"), InvalidTask, ("max_concurrency is '2'", "an int")
    ),
    # Periods
    "period of zero": Bad(
        add(print, "x", periodicity=timedelta(0)),
        InvalidTask,
        ("periodicity is datetime.timedelta(0)", "at least 1 seconds", "timedelta(minutes=5)"),
    ),
    "period below a second": Bad(
        add(print, "x", periodicity=timedelta(milliseconds=999)),
        InvalidTask,
        ("999000", "at least 1 seconds"),
    ),
    "negative period": Bad(
        add(print, "x", periodicity=timedelta(days=-1)), InvalidTask, ("at least 1 seconds",)
    ),
    "period as a number": Bad(
        add(print, "x", periodicity=60), InvalidTask, ("periodicity is 60", "timedelta(minutes=5)")
    ),
    "period of a registry": Bad(
        lambda e: registry(periodicity=5), InvalidTask, ("periodicity is 5", "a timedelta of")
    ),
    "periodic with required arguments": Bad(
        add(compute, "x", periodicity=timedelta(minutes=1)),
        InvalidTask,
        ("'x'", "(a: int, b: int)", "missing a required argument: 'a'", "defaults"),
    ),
    # Arguments
    "missing argument": Bad(
        lambda e: e.schedule("compute", 1),
        InvalidJobSignatureError,
        ("'compute'", "missing a required argument: 'b'", "compute(a: int, b: int)"),
    ),
    "too many arguments": Bad(
        lambda e: e.schedule(compute, 1, 2, 3),
        InvalidJobSignatureError,
        ("'compute'", "too many positional arguments", "compute(a: int"),
    ),
    "unknown argument": Bad(
        lambda e: e.schedule("compute", 1, 2, c=3),
        InvalidJobSignatureError,
        ("'compute'", "'c'", "compute(a: int"),
    ),
    "argument given twice": Bad(
        lambda e: e.schedule("compute", 1, 2, a=1),
        InvalidJobSignatureError,
        ("multiple values for argument 'a'",),
    ),
    "arguments in a batch": Bad(
        lambda e: e.schedule_batch(_batch("compute", 1)), InvalidJobSignatureError, ("'b'",)
    ),
    "a set": Bad(
        lambda e: e.schedule("compute", 1, {"x": [0, {1, 2}]}),
        InvalidArgument,
        ("{1, 2}", "argument 2['x'][1]", "'compute'", "Send str, int"),
    ),
    "a date by name": Bad(
        lambda e: e.schedule("compute", 1, b=date(2030, 1, 1)),
        InvalidArgument,
        ("datetime.date(2030, 1, 1)", "argument 'b'", "would not come back equal"),
    ),
    "not a number": Bad(
        lambda e: e.schedule("compute", float("nan"), 1),
        InvalidArgument,
        ("nan", "argument 1", "JSON has no such number", "finite float"),
    ),
    "a key that is no text": Bad(
        lambda e: e.schedule("compute", {1: 2}, 1), InvalidArgument, ("argument 1", "must be str")
    ),
    "an argument in a batch": Bad(
        lambda e: Batch().schedule("compute", b"x"), InvalidArgument, ("b'x'", "argument 1")
    ),
    "too large": Bad(
        lambda e: e.schedule("compute", "x" * 600_000, 1),
        PayloadTooLarge,
        ("'compute'", "600025 bytes", "limit is 524288", "send a reference"),
    ),
    # Dates
    "text for a date": Bad(
        lambda e: e.schedule_at("compute", "noon", 1, 2),
        InvalidArgument,
        ("at is 'noon' of type str", "datetime.now(timezone.utc)"),
    ),
    "date without a time": Bad(
        lambda e: e.schedule_at("compute", date(2030, 1, 1), 1, 2),
        InvalidArgument,
        ("datetime.date(2030, 1, 1)", "expected a datetime"),
    ),
    "timestamp for a date": Bad(
        lambda e: e.schedule_at("compute", 5.0, 1, 2), InvalidArgument, ("at is 5.0", "datetime")
    ),
    "no date": Bad(
        lambda e: e.schedule_at("compute", None, 1, 2), InvalidArgument, ("None", "Use schedule()")
    ),
    "date in a batch": Bad(
        lambda e: Batch().schedule_at("compute", 5, 1, 2), InvalidArgument, ("at is 5", "datetime")
    ),
    "date of a retry": Bad(
        lambda e: RetryException("later", at=timedelta(1)),
        InvalidArgument,
        ("at=datetime.timedelta(days=1)", "datetime.now(timezone.utc)"),
    ),
    # Options of one call
    "expiry of zero": Bad(
        lambda e: e.options(expires_in=timedelta(0)),
        InvalidArgument,
        ("expires_in is datetime.timedelta(0)", "at least 0.001 seconds"),
    ),
    "negative expiry": Bad(
        lambda e: e.options(expires_in=-timedelta(minutes=1)),
        InvalidArgument,
        ("expires_in is datetime.timedelta(days=-1", "at least 0.001 seconds"),
    ),
    "expiry as a number": Bad(
        lambda e: e.options(expires_in=60),
        InvalidArgument,
        ("expires_in is 60", "a timedelta of", "timedelta(minutes=5)"),
    ),
    "expiry as an instant": Bad(
        lambda e: e.options(expires_in=date(2030, 1, 1)),
        InvalidArgument,
        ("expires_in is datetime.date(2030, 1, 1)", "a timedelta"),
    ),
    "expiry without an end": Bad(
        lambda e: e.options(expires_in=timedelta.max),
        InvalidArgument,
        ("days=999999999", "at most 3650 days", "Leave it out"),
    ),
    "expiry after the last year": Bad(
        lambda e: e.options(expires_in=timedelta(days=3650)).schedule_at("compute", LATE, 1, 2),
        InvalidArgument,
        ("3650 days", "after the year 9999", "9999-06-01", "Leave it out"),
    ),
    "expiry after the last year in a batch": Bad(
        lambda e: Batch().options(expires_in=timedelta(days=365)).schedule_at("compute", LATE),
        InvalidArgument,
        ("365 days", "after the year 9999", "9999-06-01"),
    ),
    "expiry of a registry": Bad(
        lambda e: Tasks().options(expires_in=timedelta(0)), InvalidArgument, ("expires_in is",)
    ),
    "expiry of a batch": Bad(
        lambda e: Batch().options(expires_in="1 h"), InvalidArgument, ("expires_in is '1 h'",)
    ),
    "headers as a list": Bad(
        lambda e: e.options(headers=[("a", "b")]),
        InvalidArgument,
        ("type list", "a mapping of texts to texts", '{"trace": "4f2a"}'),
    ),
    "header that is no text": Bad(
        lambda e: e.options(headers={"size": 5}),
        InvalidArgument,
        ("Header 'size' is of type int", "expected a str", "str(value)"),
    ),
    "header of bytes": Bad(
        lambda e: e.options(headers={"trace": b"x"}),
        InvalidArgument,
        ("Header 'trace' is of type bytes", "a str"),
    ),
    "name of a header that is no text": Bad(
        lambda e: e.options(headers={5: "x"}),
        InvalidArgument,
        ("The name of a header is of type int", "a str"),
    ),
    "header that is not Unicode": Bad(
        lambda e: e.options(headers={"trace": "\ud800"}),
        InvalidArgument,
        ("Header 'trace'", "lone surrogate", "base64"),
    ),
    "name of a header that is not Unicode": Bad(
        lambda e: e.options(headers={"\ud800": "x"}), InvalidArgument, ("name", "lone surrogate")
    ),
    "two headers of one name": Bad(
        lambda e: e.options(headers={"a": "1", Apart("a"): "2"}),
        InvalidArgument,
        ("same name", "'a'", "Keep one"),
    ),
    "headers of a registry": Bad(
        lambda e: Tasks().options(headers="a"), InvalidArgument, ("type str", "a mapping")
    ),
    "headers of a batch": Bad(
        lambda e: Batch().options(headers=5), InvalidArgument, ("type int", "a mapping")
    ),
    "headers that are too large": Bad(
        lambda e: e.options(headers={"x": "y" * 600_000}).schedule("compute", 1, 2),
        PayloadTooLarge,
        ("'compute'", "arguments and headers", "limit is 524288", "send a reference"),
    ),
    "headers that are too large in a batch": Bad(
        lambda e: e.schedule_batch(_batch_with_headers("y" * 600_000)),
        PayloadTooLarge,
        ("'compute'", "arguments and headers"),
    ),
    "registry without an engine, options": Bad(
        lambda e: Tasks().options(headers={"a": "b"}).schedule("compute"),
        TasksNotAttached,
        ("attach_tasks",),
    ),
    "unknown task with options": Bad(
        lambda e: e.options().schedule("compuet", 1, 2), UnknownTask, ("'compuet'", "'compute'")
    ),
    "missing argument with options": Bad(
        lambda e: e.options().schedule("compute", 1),
        InvalidJobSignatureError,
        ("missing a required argument: 'b'",),
    ),
    "no date with options": Bad(
        lambda e: e.options().schedule_at("compute", None, 1, 2),
        InvalidArgument,
        ("None", "Use schedule()"),
    ),
    "no date with options in a batch": Bad(
        lambda e: Batch().options().schedule_at("compute", None, 1, 2),
        InvalidArgument,
        ("at is None", "datetime"),
    ),
    # Workers
    "no workers": Bad(
        lambda e: e.start_workers(0), InvalidArgument, ("number of workers is 0", "from 1 to")
    ),
    "negative workers": Bad(
        lambda e: e.start_workers(-3), InvalidArgument, ("number of workers is -3", "from 1 to")
    ),
    "workers as bool": Bad(
        lambda e: e.start_workers(True), InvalidArgument, ("number of workers is True", "an int")
    ),
    "workers as float": Bad(
        lambda e: e.start_workers(2.0), InvalidArgument, ("number of workers is 2.0", "an int")
    ),
    "no queues": Bad(
        lambda e: e.start_workers(queue=[]), InvalidArgument, ("empty sequence", "at least one")
    ),
    "a queue twice": Bad(
        lambda e: e.start_workers(queue=["a", "b", "a"]),
        InvalidArgument,
        ("['a', 'b', 'a']", "Name each once"),
    ),
    "no queue name at all": Bad(
        lambda e: e.start_workers(queue=None), InvalidArgument, ("queue is None", "a sequence")
    ),
    "negative grace": Bad(
        lambda e: e.start_workers(grace=timedelta(seconds=-1)),
        InvalidArgument,
        ("grace is datetime.timedelta(days=-1", "at least 0 seconds"),
    ),
    "grace as a number": Bad(
        lambda e: e.start_workers(grace=30), InvalidArgument, ("grace is 30", "a timedelta")
    ),
    # Brokers and engines
    "a lease too short": Bad(
        lambda e: MemoryBroker(lease=timedelta(seconds=9)),
        InvalidArgument,
        ("lease is datetime.timedelta(seconds=9)", "at least 10 seconds"),
    ),
    "no broker": Bad(
        lambda e: Engine("redis://"), InvalidArgument, ("'redis://' of type str", "MemoryBroker()")
    ),
    "a broker's class": Bad(
        lambda e: Engine(MemoryBroker), InvalidArgument, ("MemoryBroker", "expected a Broker")
    ),
    "one broker, two engines": Bad(
        a_broker_for_two, BrokerInUse, ("'shop'", "'blog'", "Create a broker for each engine")
    ),
    "a broker in use, for a block": Bad(
        a_swapped_broker_that_is_taken, BrokerInUse, ("'shop'", "'spinach'", "Create a broker")
    ),
    "no broker for a block": Bad(
        lambda e: e.using_broker(None).__enter__(), InvalidArgument, ("None", "MemoryBroker()")
    ),
    "no registry": Bad(
        lambda e: e.attach_tasks([compute]), InvalidArgument, ("list", "expected a Tasks registry")
    ),
    "no registry to detach": Bad(
        lambda e: e.detach_tasks("x"), InvalidArgument, ("'x'", "expected a Tasks registry")
    ),
    "no batch": Bad(lambda e: e.schedule_batch([]), InvalidArgument, ("[]", "expected a Batch")),
    "a batch twice": Bad(a_batch_used_twice, InvalidArgument, ("twice", "Make a new Batch()")),
}


def _batch_with_headers(text: str) -> Batch:
    batch = Batch()
    batch.options(headers={"x": text}).schedule("compute", 1, 2)
    return batch


def _batch(*call: Any) -> Batch:
    batch = Batch()
    batch.schedule(*call)
    return batch


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_value_and_remedy_and_nothing_happens(bad: Bad) -> None:
    broker = MemoryBroker()
    engine = Engine(broker)
    engine._tasks.add(compute, "compute")
    with pytest.raises(bad.error) as info:
        bad.call(engine)
    assert type(info.value) is bad.error
    missing = [word for word in bad.words if word not in str(info.value)]
    assert not missing, f"{missing} not in {info.value}"
    (counts,) = broker.counts(["spinach"])
    assert counts.enqueued == (1 if bad.call is a_batch_used_twice else 0)
    assert counts.members == 0


NOT_WHILE_RUNNING: dict[str, Callable[[Engine], Any]] = {
    "start workers": lambda e: e.start_workers(1, block=False),
    "start workers and block": lambda e: e.start_workers(1),
    "change the broker": lambda e: e.using_broker(MemoryBroker()).__enter__(),
}


@pytest.mark.parametrize("use", NOT_WHILE_RUNNING.values(), ids=NOT_WHILE_RUNNING)
def test_it_is_refused_while_workers_run_and_allowed_afterwards(
    use: Callable[[Engine], Any],
) -> None:
    engine = Engine(MemoryBroker(), "shop")
    engine._tasks.add(compute, "compute")
    engine.start_workers(1, block=False)
    try:
        with pytest.raises(WorkersRunning) as info:
            use(engine)
    finally:
        engine.stop_workers()
    assert "'shop'" in str(info.value)
    assert "engine.stop_workers()" in str(info.value)


def test_attaching_what_is_attached_is_no_change_and_thus_allowed_while_running() -> None:
    engine, tasks = Engine(MemoryBroker()), Tasks()
    engine.attach_tasks(tasks)
    engine.start_workers(1, block=False)
    try:
        engine.attach_tasks(tasks)
        engine.detach_tasks(Tasks())
    finally:
        engine.stop_workers()
