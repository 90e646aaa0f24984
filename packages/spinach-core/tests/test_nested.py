"""Nested calls of an engine: what a signal handler, a finalizer or a log handler may ask for."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from spinach import Engine, MemoryBroker, Tasks
from spinach.clock import SystemClock
from spinach.exc import NestedCall
from spinach.worker.wake_up import WakeUp
from spinach_testing.conformance.nesting import Nested, steps_of

from .support import PATIENCE, run_python

pytestmark = pytest.mark.concurrency


def ends(call: Callable[[], object]) -> None:
    """Make a call on a thread of its own, where it must come to its end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "a call waits for itself"
    if errors:
        raise errors[0]


def some(steps: Any, most: int = 60) -> list[int]:
    """Steps at equal distances, the first and the last among them."""
    steps = list(steps)
    return sorted({*steps[:: 1 + len(steps) // most], steps[-1]})


@pytest.fixture
def spin() -> Any:
    engine = Engine(MemoryBroker(), "nested")
    engine.task(name="nothing")(lambda: None)
    yield engine
    engine.stop_workers()


def start(engine: Engine) -> None:
    engine.start_workers(1, block=False)


def test_a_stop_may_come_in_the_middle_of_a_start(spin: Engine) -> None:
    def start_and_stop() -> None:
        start(spin)
        spin.stop_workers()

    for step in some(steps_of(start_and_stop)):
        ends(Nested(lambda: start(spin), spin.stop_workers, step))
        # Started by the outer call and stopped by the nested one, or before it.
        ends(spin.stop_workers)
        assert spin._running_pool() is None


def test_a_stop_may_come_in_the_middle_of_a_stop(spin: Engine) -> None:
    start(spin)
    for step in some(steps_of(spin.stop_workers)):
        start(spin)
        nested = Nested(spin.stop_workers, spin.stop_workers, step)
        ends(nested)
        assert spin._running_pool() is None


def test_a_stop_may_come_in_the_middle_of_a_schedule(spin: Engine) -> None:
    number = 1
    for step in some(steps_of(lambda: spin.schedule("nothing"))):
        start(spin)
        ends(Nested(lambda: spin.schedule("nothing"), spin.stop_workers, step))
        number += 1
        ends(spin.stop_workers)
    spin.start_workers(1, stop_when_queue_empty=True)
    [counts] = spin._broker.counts(["spinach"])
    assert (counts.enqueued, counts.unfinished) == (number, 0)


def test_a_stop_in_the_middle_of_a_registration_waits_for_no_job_that_registers() -> None:
    engine, tasks = Engine(MemoryBroker(), "nested"), Tasks()
    engine.attach_tasks(tasks)
    begun, released = threading.Event(), threading.Event()

    @tasks.task(name="registers")
    def registers() -> None:
        begun.set()
        released.wait(PATIENCE)
        tasks.add(print, "by-the-job", replace=True)

    def register() -> None:
        tasks.add(print, "by-the-program", replace=True)

    def stop() -> None:
        released.set()
        engine.stop_workers()

    for step in some(steps_of(register), most=20):
        begun.clear()
        released.clear()
        engine.schedule("registers")
        start(engine)
        assert begun.wait(PATIENCE)
        ends(Nested(register, stop, step))
        released.set()
        ends(engine.stop_workers)


def test_a_schedule_may_come_in_the_middle_of_a_start_and_of_a_stop(spin: Engine) -> None:
    def start_and_stop() -> None:
        start(spin)
        spin.stop_workers()

    number = 0
    for step in some(steps_of(start_and_stop)):
        nested = Nested(start_and_stop, lambda: spin.schedule("nothing"), step)
        ends(nested)
        number += nested.reached
    spin.start_workers(1, stop_when_queue_empty=True)
    [counts] = spin._broker.counts(["spinach"])
    assert (counts.enqueued, counts.unfinished) == (number, 0)


def test_a_start_in_the_middle_of_a_start_makes_no_second_pool(spin: Engine) -> None:
    refused: list[Exception] = []

    def start_as_well() -> None:
        try:
            start(spin)
        except Exception as error:
            refused.append(error)

    def begin() -> None:
        try:
            start(spin)
        except Exception as error:
            refused.append(error)

    def begin_and_stop() -> None:
        begin()
        spin.stop_workers()

    for step in some(steps_of(begin_and_stop)):
        refused.clear()
        nested = Nested(begin, start_as_well, step)
        ends(nested)
        assert len(refused) == nested.reached
        names = [each.name for each in threading.enumerate() if each.name.startswith("nested-")]
        assert len(names) == len(set(names)) == 4, names
        ends(spin.stop_workers)


def test_a_registry_attached_in_the_middle_of_an_attach_is_refused_or_kept(spin: Engine) -> None:
    def registry(name: str) -> Tasks:
        tasks = Tasks()
        tasks.add(print, name)
        return tasks

    attached = 0
    for step in some(steps_of(lambda: spin.attach_tasks(registry("first")))):
        inner = registry(f"inner-{step}")

        def attach(inner: Tasks = inner) -> None:
            nonlocal attached
            try:
                spin.attach_tasks(inner)
            except NestedCall:
                return
            attached += 1

        outer = registry(f"outer-{step}")
        ends(Nested(lambda outer=outer: spin.attach_tasks(outer), attach, step))  # type: ignore[misc] # a default argument
        assert f"outer-{step}" in spin._task_table.by_name
    kept = sum(name.startswith("inner-") for name in spin._task_table.by_name)
    assert kept == attached > 0


def test_a_task_replaced_in_the_middle_of_its_replacement_is_refused_or_kept(spin: Engine) -> None:
    tasks = Tasks()

    def replace() -> None:
        tasks.add(print, "task", replace=True)

    def replace_unless_refused() -> None:
        with contextlib.suppress(NestedCall):
            replace()

    spin.attach_tasks(tasks)
    replace()
    for step in some(steps_of(replace)):
        ends(Nested(replace, replace_unless_refused, step))
        assert spin._task_table.by_name["task"] is tasks.tasks["task"]


def test_a_bell_may_be_set_in_the_middle_of_a_ring() -> None:
    wake_up = WakeUp(SystemClock())

    def wait() -> None:
        assert wake_up.wait(PATIENCE)

    for step in steps_of(wake_up.set):
        wake_up.wait(0)
        ends(Nested(wake_up.set, wake_up.set, step))
        ends(wait)


def test_a_finalizer_on_the_way_to_the_bell_may_stop_the_workers() -> None:
    class Finalizing(SystemClock):
        """Stops the workers when the arbiter is about to wait, with the wake_up's lock."""

        done = False

        def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
            arbiter = threading.current_thread().name.endswith("-arbiter")
            if arbiter and not self.done:
                self.done = True
                spin.stop_workers()
            return super().wait(condition, timeout_seconds)

    spin = Engine(MemoryBroker(clock=Finalizing()), "nested")
    spin.start_workers(1, block=False)
    ends(lambda: spin._pool and spin._pool.join())
    assert spin._running_pool() is None


def test_a_log_handler_may_schedule_what_it_is_told(spin: Engine) -> None:
    class Scheduling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Started" in record.getMessage():
                spin.schedule("nothing")
                spin.stop_workers()

    logger, handler = logging.getLogger("spinach.engine"), Scheduling()
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel("INFO")
    try:
        ends(lambda: start(spin))
        ends(spin.stop_workers)
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
    assert spin._broker.counts(["spinach"])[0].enqueued == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timers")
def test_a_handler_that_stops_and_exits_ends_a_program_in_the_middle_of_anything() -> None:
    program = """
import signal, sys
from spinach import Engine, MemoryBroker

spin = Engine(MemoryBroker())
spin.task(name="nothing", max_retries=1)(lambda: None)

def on_alarm(*_):
    global ended
    ended = True
    spin.stop_workers()
    sys.exit(0)

def unraisable(told):
    # Python drops what is raised in a weak reference's callback, an exit too. The loop ends then.
    if told.exc_type is not SystemExit:
        sys.__unraisablehook__(told)

ended = False
sys.unraisablehook = unraisable
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, AFTER)
while not ended:
    spin.start_workers(2, block=False)
    for _ in range(300):
        spin.schedule("nothing")
    spin.stop_workers()
"""
    for after in (0.05, 0.0613, 0.0771, 0.09, 0.1234):
        done = run_python(program.replace("AFTER", str(after)), timeout=30)
        assert "Traceback" not in done.stderr
