"""After a fork the child is a client: it has no workers, and may start its own."""

from __future__ import annotations

import os

import pytest

from .support import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

FORK = """
import os, sys, threading, traceback, warnings
from spinach import Engine, MemoryBroker, Tasks

# Python warns of forks in a process with threads; that is what is tested here.
warnings.filterwarnings("ignore", category=DeprecationWarning)
spin = Engine(MemoryBroker())
ran = []

@spin.task(name="note")
def note(what):
    ran.append((what, os.getpid()))

def fork(child):
    pid = os.fork()
    if not pid:
        status = 1
        try:
            child()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
"""


def test_the_child_of_a_process_with_workers_is_a_client_without_workers() -> None:
    run_python(
        f"""{FORK}
def child():
    assert threading.active_count() == 1
    spin.stop_workers()  # does nothing, and does not wait for threads that are not here
    spin.attach_tasks(Tasks())  # no workers run here
    assert spin.schedule("note", "child").status.name == "QUEUED"

spin.start_workers(2, block=False)
fork(child)
assert threading.active_count() == 6
spin.schedule("note", "parent")
spin.stop_workers()
spin.start_workers(1, stop_when_queue_empty=True)
assert ran == [("parent", os.getpid())], ran
"""
    )


def test_the_child_may_start_workers_of_its_own() -> None:
    run_python(
        f"""{FORK}
def child():
    spin.schedule("note", "child")
    spin.start_workers(2, stop_when_queue_empty=True)
    assert ("child", os.getpid()) in ran, ran
    assert threading.active_count() == 1

spin.start_workers(2, block=False)
fork(child)
spin.stop_workers()
fork(child)
"""
    )


def test_a_job_that_was_scheduled_before_the_fork_runs_once() -> None:
    # A memory store belongs to its process; the child begins with an empty one.
    run_python(
        f"""{FORK}
def child():
    spin.start_workers(1, stop_when_queue_empty=True)
    assert ran == [], ran
    spin.schedule("note", "child")
    spin.start_workers(1, stop_when_queue_empty=True)
    assert ran == [("child", os.getpid())], ran

spin.schedule("note", "before")
fork(child)
spin.start_workers(1, stop_when_queue_empty=True)
assert ran == [("before", os.getpid())], ran
"""
    )


def test_a_child_that_exits_in_order_does_not_wait_for_the_parents_workers() -> None:
    # The atexit hook of the parent's workers was inherited, but they were not.
    run_python(
        f"""{FORK}
spin.start_workers(2, block=False)
pid = os.fork()
if not pid:
    sys.exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
spin.stop_workers()
""",
        timeout=30,
    )


def test_the_child_waits_for_no_registration_of_another_thread() -> None:
    run_python(
        f"""{FORK}
import faulthandler

import spinach.task

begun, go_on = threading.Event(), threading.Event()

def register():
    # As a thread stands in the middle of a registration.
    with spinach.task.REGISTERING.held(), spin._task_table._changes.held(), spin._lock.held():
        begun.set()
        go_on.wait()

def child():
    # What waits for ever shows where.
    faulthandler.dump_traceback_later(20, exit=True)
    tasks = Tasks()
    spin.attach_tasks(tasks)
    tasks.add(lambda: ran.append(("added", os.getpid())), "added")
    spin.schedule("added")
    spin.start_workers(1, stop_when_queue_empty=True)
    assert ran == [("added", os.getpid())], ran

thread = threading.Thread(target=register)
thread.start()
begun.wait()
fork(child)
go_on.set()
thread.join()
"""
    )
