"""Tasks that come, change and go while workers run."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from spinach import ALL_QUEUES, Engine, Tasks
from spinach.exc import DuplicateTask, UnknownTask
from spinach_memory import MemoryBroker, MemoryStore

from .rig import Rig
from .support import PATIENCE, Bench, FlakyBroker, wait_for

MINUTE = timedelta(minutes=1)


class Gate:
    """A task's function that holds on to its threads until it is opened."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._open = threading.Event()
        #: Jobs inside, by name of the thread.
        self.inside: list[str] = []
        self.most = 0
        self.done = 0

    def __call__(self, *_: Any) -> None:
        with self._lock:
            self.inside.append(threading.current_thread().name)
            self.most = max(self.most, len(self.inside))
            if not self._open.is_set():
                self._bench.busy += 1
        wait_for(self._open, "the opening of the gate")
        with self._lock:
            self.inside.remove(threading.current_thread().name)
            self.done += 1

    def open(self) -> None:
        with self._lock:
            # From here on they count as threads that are awake.
            self._bench.busy -= len(self.inside)
            self._open.set()


@pytest.fixture
def done() -> list[Any]:
    return []


def noting(done: list[Any], *names: str, **options: Any) -> Tasks:
    tasks = Tasks(**options)
    for name in names:
        tasks.add(lambda *args, n=name: done.append((n, *args)), name)
    return tasks


# -- attached, added, detached -----------------------------------------------------


def test_a_registry_that_is_attached_runs_at_once(bench: Bench, done: list[Any]) -> None:
    engine = bench.engine(Tasks())
    engine.start_workers(2, block=False)
    bench.settle()
    engine.attach_tasks(noting(done, "late"))
    engine.schedule("late", 1)
    bench.settle()  # No time passes: the wait of the subscriber is ended.
    assert done == [("late", 1)]


@pytest.mark.parametrize("decorate", [False, True])
def test_a_task_that_is_added_runs_at_once(
    bench: Bench, done: list[Any], *, decorate: bool
) -> None:
    engine = bench.engine(tasks := Tasks())
    engine.start_workers(2, block=False)
    bench.settle()
    if decorate:
        tasks.task(name="late")(done.append)
    else:
        tasks.add(done.append, "late")
    engine.schedule("late", 1)
    bench.settle()
    assert done == [1]


def test_jobs_that_were_parked_are_taken_once_their_task_is_there(
    bench: Bench, done: list[Any]
) -> None:
    client = bench.engine(noting([], "late", "later"))
    engine = bench.engine(Tasks())
    engine.start_workers(1, block=False)
    for number in range(3):
        client.schedule("late", number)
        client.schedule("later", number)
    bench.settle()
    assert bench.counts(engine).parked == 6
    engine.attach_tasks(noting(done, "late"))
    bench.settle()
    assert done == [("late", number) for number in range(3)]
    engine.attach_tasks(noting(done, "later", max_concurrency=1))
    bench.settle()
    assert done[3:] == [("later", number) for number in range(3)]
    assert bench.counts(engine).parked == 0


def test_a_task_that_registers_one_and_schedules_it_does_not_hang(
    bench: Bench, done: list[Any]
) -> None:
    engine = bench.engine(tasks := Tasks())

    @tasks.task(name="first")
    def first() -> None:
        engine.attach_tasks(noting(done, "second", max_concurrency=1))
        tasks.add(done.append, "third")
        tasks.schedule("second", 2)
        tasks.schedule("third", 3)

    engine.schedule("first")
    engine.start_workers(1, stop_when_queue_empty=True)
    assert sorted(done, key=str) == [("second", 2), 3]
    assert bench.counts(engine).parked == 0


def test_a_job_of_a_task_that_is_detached_ends_and_later_ones_are_parked(
    bench: Bench, done: list[Any]
) -> None:
    client = bench.engine(noting([], "gone"))
    gate, tasks = Gate(bench), Tasks()
    tasks.add(gate, "gone")
    engine = bench.engine(tasks)
    engine.start_workers(2, block=False)
    engine.schedule("gone")
    bench.settle()
    assert len(gate.inside) == 1
    engine.detach_tasks(tasks)
    client.schedule("gone")
    gate.open()
    bench.settle()
    assert gate.done == 1
    counts = bench.counts(engine)
    assert (counts.parked, counts.failed, counts.unfinished) == (1, 0, 0)
    with pytest.raises(UnknownTask):
        engine.schedule("gone")
    engine.attach_tasks(tasks)
    bench.settle()
    assert gate.done == 2


def test_what_was_attached_before_a_restart_counts_after_it(bench: Bench, done: list[Any]) -> None:
    engine = bench.engine(Tasks())
    engine.start_workers(1, block=False)
    engine.attach_tasks(noting(done, "late", max_concurrency=1))
    engine.stop_workers()
    engine.schedule("late")
    engine.start_workers(1, stop_when_queue_empty=True)
    assert done == [("late",)]


def test_a_name_that_is_taken_is_refused_and_workers_go_on(bench: Bench, done: list[Any]) -> None:
    engine = bench.engine(tasks := noting(done, "a"))
    engine.start_workers(1, block=False)
    with pytest.raises(DuplicateTask):
        engine.attach_tasks(noting(done, "b", "a"))
    with pytest.raises(DuplicateTask, match="replace=True"):
        tasks.add(print, "a")
    engine.attach_tasks(other := noting(done, "c"))
    with pytest.raises(DuplicateTask):
        other.add(print, "a", replace=True)
    assert other.names == ["c"]
    engine.schedule("a")
    bench.settle()
    assert done == [("a",)]


# -- limits and schedules ----------------------------------------------------------


def test_the_limit_of_a_task_that_is_attached_holds_from_its_first_job(bench: Bench) -> None:
    engine, gate = bench.engine(Tasks()), Gate(bench)
    engine.start_workers(5, block=False)
    bench.settle()
    tasks = Tasks(max_concurrency=2)
    tasks.add(gate, "limited")
    engine.attach_tasks(tasks)
    for _ in range(5):
        engine.schedule("limited")
    bench.settle()
    assert len(gate.inside) == 2
    gate.open()
    bench.settle()
    assert (gate.done, gate.most) == (5, 2)


def test_a_limit_that_is_lowered_takes_effect_as_jobs_finish(bench: Bench) -> None:
    engine, before, after = bench.engine(tasks := Tasks()), Gate(bench), Gate(bench)
    tasks.add(before, "limited", max_concurrency=3)
    engine.start_workers(5, block=False)
    for _ in range(6):
        engine.schedule("limited")
    bench.settle()
    tasks.add(after, "limited", max_concurrency=1, replace=True)
    bench.settle()
    assert len(before.inside) == 3
    before.open()
    bench.settle()
    assert (before.done, len(after.inside)) == (3, 1)
    after.open()
    bench.settle()
    assert (after.done, after.most) == (3, 1)


def test_a_limit_that_is_removed_lets_held_jobs_go(bench: Bench) -> None:
    engine, gate = bench.engine(tasks := Tasks()), Gate(bench)
    tasks.add(gate, "limited", max_concurrency=1)
    engine.start_workers(4, block=False)
    for _ in range(4):
        engine.schedule("limited")
    bench.settle()
    assert len(gate.inside) == 1
    tasks.add(gate, "limited", replace=True)
    bench.settle()
    assert len(gate.inside) == 4
    gate.open()


def test_a_periodic_task_that_is_attached_fires_until_it_is_detached(
    bench: Bench, done: list[Any]
) -> None:
    engine = bench.engine(Tasks())
    engine.start_workers(1, block=False)
    bench.advance(timedelta(seconds=7))
    engine.attach_tasks(tasks := noting(done, "tick", periodicity=MINUTE))
    bench.advance(MINUTE - timedelta(seconds=1))
    assert done == []
    bench.advance(timedelta(seconds=1))
    assert done == [("tick",)]
    engine.detach_tasks(tasks)
    bench.advance(5 * MINUTE)
    counts = bench.counts(engine)
    assert (len(done), counts.parked, counts.enqueued) == (1, 0, 1)
    assert counts.next_due_in_ms is None


def test_a_period_that_is_replaced_counts_from_now(bench: Bench, done: list[Any]) -> None:
    engine = bench.engine(tasks := noting(done, "tick", periodicity=timedelta(hours=1)))
    engine.start_workers(1, block=False)
    bench.settle()
    tasks.add(lambda: done.append("new"), "tick", periodicity=MINUTE, replace=True)
    bench.advance(MINUTE)
    assert done == ["new"]


# -- replaced ----------------------------------------------------------------------


def test_a_job_that_runs_goes_on_with_the_former_function_and_later_ones_have_the_new(
    bench: Bench, done: list[Any]
) -> None:
    engine, gate = bench.engine(tasks := Tasks(max_retries=3)), Gate(bench)
    tasks.add(gate, "a")
    engine.start_workers(2, block=False)
    engine.schedule("a")
    bench.settle()
    tasks.add(done.append, "a", max_retries=0, replace=True)
    engine.schedule("a", 1)
    bench.settle()
    assert (done, gate.done) == ([1], 0)
    gate.open()
    bench.settle()
    assert (done, gate.done) == ([1], 1)
    with pytest.raises(UnknownTask):
        engine.schedule(gate)


def test_replace_adds_what_is_not_there(done: list[Any]) -> None:
    tasks = Tasks()
    tasks.task(name="a", replace=True)(done.append)
    tasks.task(name="b")(print)
    tasks.add(repr, "a", replace=True)
    assert tasks.names == ["a", "b"]
    assert tasks.get("a").func is repr


def test_the_retries_of_a_job_are_those_it_was_scheduled_with(bench: Bench) -> None:
    engine, calls = bench.engine(tasks := Tasks()), []

    def fail() -> None:
        calls.append(1)
        raise ValueError

    tasks.add(fail, "a", max_retries=1)
    engine.start_workers(1, block=False)
    bench.settle()
    engine.schedule("a")
    tasks.add(lambda: fail(), "a", max_retries=9, replace=True)
    bench.advance(MINUTE)
    assert len(calls) == 2
    assert bench.counts(engine).failed == 1


def test_a_task_that_moves_to_another_queue_still_runs_its_jobs_in_the_former_one(
    bench: Bench, done: list[Any]
) -> None:
    engine = bench.engine(tasks := noting(done, "a", queue="old", max_concurrency=1))
    other = bench.engine(noting([], "a", queue="old"))
    engine.start_workers(2, queue=ALL_QUEUES, block=False)
    bench.settle()
    tasks.add(lambda n: done.append(n), "a", queue="new", replace=True)
    bench.settle()
    other.schedule("a", 1)
    engine.schedule("a", 2)
    bench.settle()
    assert sorted(done) == [1, 2]
    assert [bench.counts(engine, queue).members for queue in ("old", "new")] == [1, 1]


# -- queues ------------------------------------------------------------------------


def test_all_queues_grow_by_that_of_a_task_that_is_attached(bench: Bench, done: list[Any]) -> None:
    engine = bench.engine(noting(done, "a", queue="first"))
    engine.start_workers(1, queue=ALL_QUEUES, block=False)
    bench.settle()
    engine.attach_tasks(tasks := noting(done, "b", queue="second", periodicity=MINUTE))
    engine.schedule("b", 1)
    bench.settle()
    assert done == [("b", 1)]
    bench.advance(MINUTE)
    assert done == [("b", 1), ("b",)]
    engine.detach_tasks(tasks)
    bench.settle()
    # It stays a member, for as long as these workers live.
    assert bench.counts(engine, "second").members == 1
    engine.stop_workers()
    assert [bench.counts(engine, q).members for q in ("first", "second")] == [0, 0]


def test_queues_that_were_named_are_kept(bench: Bench, done: list[Any]) -> None:
    engine = bench.engine(noting(done, "a"))
    engine.start_workers(1, block=False)
    engine.attach_tasks(noting(done, "b", queue="second"))
    bench.settle()
    assert bench.counts(engine, "second").members == 0


def pass_time(rig: Rig) -> None:
    """Let time pass until the consumer has something to do."""
    # A clock that tests turn counts microseconds.
    rig.advance((rig.next_call_in() or 0.0) + 1e-6)


# -- what fails half-way -----------------------------------------------------------


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_task_with_a_limit_waits_until_the_store_has_answered(cut: str) -> None:
    rig = Rig()
    rig.due()
    rig._plan["join"] = [cut] * 4
    rig.tasks.add(repr, "limited", max_concurrency=1)
    rig.tasks.add(repr, "free")
    rig.memberships.tasks_changed()
    calls = []
    for _ in range(4):
        calls += rig.due()
        rig.engine.schedule("limited", 1)
        rig.engine.schedule("free", 1)
        rig.fetch(2)
        assert not rig.memberships.declared
        pass_time(rig)
    # Between two tries the other calls go on.
    assert calls.count("join") < 4
    while not rig.memberships.declared:
        rig.due()
        rig.fetch(8)
        pass_time(rig)
    ran = [rig.in_flight.exchange(n).task.name for n in range(4)]  # type: ignore[union-attr]
    assert ran == ["free"] * 4
    # Those with a limit were parked, and come back now, one at a time.
    rig.broker.report(rig.in_flight.collect((), 10))
    while not rig.fetch(8):
        pass
    assert rig.fetch(8) == 0
    assert rig.in_flight.exchange(4).task.name == "limited"  # type: ignore[union-attr]


def test_a_job_that_was_leased_before_its_limit_was_declared_goes_back() -> None:
    rig = Rig()
    rig.due()
    rig.tasks.add(repr, "limited", max_concurrency=1)
    rig.memberships.tasks_changed()
    jobs = [rig.engine.schedule("limited", n) for n in range(3)]
    assert rig.fetch(8) == 0  # as the subscriber's, which no upkeep went before
    assert rig.due() == ["join"]
    assert rig.fetch(8) == 0
    rig.broker.report(rig.in_flight.collect((), 10))
    (counts,) = rig.broker.counts(["spinach"])
    assert (counts.ready, counts.parked) == (3, 0)
    assert rig.fetch(8) == 1
    work = rig.in_flight.exchange(1)
    assert work.lease.stored_id == f"0{jobs[0].id}"  # type: ignore[union-attr]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_task_whose_limit_is_lower_keeps_its_former_function_until_then(cut: str) -> None:
    tasks = Tasks()
    tasks.add(print, "a", max_concurrency=5)
    rig = Rig(tasks=tasks)
    rig.due()
    rig._plan["join"] = [cut]
    rig.tasks.add(repr, "a", max_concurrency=2, replace=True)
    rig.memberships.tasks_changed()
    rig.due()
    functions = []
    for number in range(2):
        rig.engine.schedule("a", 1)
        while not rig.fetch():
            rig.advance(0.02)
        functions.append(rig.in_flight.exchange(number).task.func)  # type: ignore[union-attr]
        # This one has the limit that the store is sure to have, whatever became of the call.
        rig.tasks.add(ascii, "a", max_concurrency=5, replace=True)
        rig.memberships.tasks_changed()
    assert functions == [print, ascii]
    assert not rig.memberships.declared
    while not rig.memberships.declared:
        pass_time(rig)
        rig.due()


def test_a_process_taken_for_dead_joins_anew_with_what_it_has_by_now() -> None:
    rig = Rig()
    rig.due()
    member = rig.memberships.all[0]
    rig.broker.leave(member.turn())  # as after its recovery, the store knows it no more
    rig.tasks.add(repr, "limited", max_concurrency=1)
    rig.memberships.tasks_changed()
    rig.due()
    rig.due()
    assert rig.memberships.declared
    assert rig.memberships.all[0] is not member
    rig.engine.schedule("limited", 1)
    rig.engine.schedule("limited", 1)
    assert rig.fetch(8) == 1


def test_tasks_that_come_while_the_workers_start_are_seen() -> None:
    late, ran = Tasks(), threading.Event()
    late.add(lambda _: ran.set(), "late", max_concurrency=1)

    def plan(call: str) -> None:
        if call == "join" and "late" not in engine._task_table.by_name:
            # As from another thread, which finds a pool whose tasks were counted already.
            engine.attach_tasks(late)

    broker = FlakyBroker(MemoryStore(), plan=plan)
    engine = Engine(broker)
    engine.start_workers(1, block=False)
    try:
        engine.schedule("late", 1)
        wait_for(ran)
    finally:
        engine.stop_workers()


# -- threads -----------------------------------------------------------------------


@pytest.mark.concurrency
def test_threads_that_add_attach_and_detach_at_once_lose_no_task() -> None:
    engine = Engine(MemoryBroker())
    registries = [Tasks() for _ in range(3)]
    engine.attach_tasks(registries[0])
    engine.start_workers(2, block=False)
    begin = threading.Barrier(5)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            begin.wait(PATIENCE)
            for n in range(30):
                registries[number % 3].add(print, f"task.{number}.{n}", max_concurrency=1)
                registries[number % 3].add(repr, f"task.{number}.{n}", replace=True)
        except BaseException as exc:
            errors.append(exc)

    def attach() -> None:
        try:
            begin.wait(PATIENCE)
            for _ in range(30):
                for tasks in registries[1:]:
                    engine.attach_tasks(tasks)
                engine.detach_tasks(registries[2])
            engine.attach_tasks(registries[2])
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    threads.append(threading.Thread(target=attach))
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        engine.stop_workers()
    assert errors == []
    assert set(engine._task_table.by_name) == {f"task.{m}.{n}" for m in range(4) for n in range(30)}
    assert all(engine.execute(name, 1) == "1" for name in engine._task_table.by_name)


@pytest.mark.concurrency
def test_what_is_scheduled_after_a_replacement_never_runs_the_former_function() -> None:
    engine, ran = Engine(MemoryBroker()), []
    tasks, done = Tasks(), threading.Event()
    engine.attach_tasks(tasks)
    tasks.add(print, "version")
    engine.start_workers(3, block=False)

    def version(number: int, wanted: int) -> None:
        ran.append((number, wanted))
        if len(ran) == 40:
            done.set()

    try:
        for number in range(40):
            tasks.add(lambda wanted, n=number: version(n, wanted), "version", replace=True)
            engine.schedule("version", number)
        wait_for(done)
    finally:
        engine.stop_workers()
    assert [(number, wanted) for number, wanted in ran if number < wanted] == []
