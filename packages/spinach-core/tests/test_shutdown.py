"""Termination signals: workers stop, the call returns, the former handlers are back."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from spinach.worker.shutdown import Shutdown

from .support import run_python

BLOCKED = """
import os, signal, sys, threading
from datetime import timedelta
from spinach import Engine, MemoryBroker

before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
spin = Engine(MemoryBroker())
ran = []

def kill(number):
    os.kill(os.getpid(), number)
"""

AFTER = """
assert {n: signal.getsignal(n) for n in before} == before, "handlers were not restored"
assert threading.active_count() == 1, threading.enumerate()
print("returned")
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_lets_a_blocking_start_return_normally(name: str) -> None:
    done = run_python(
        f"""{BLOCKED}
@spin.task(name="kill")
def task():
    kill(signal.{name})
    ran.append(1)

spin.schedule("kill")
spin.start_workers(2)
assert ran == [1]
{AFTER}"""
    )
    assert done.stdout == "returned\n"
    assert done.stderr == ""


@posix
@pytest.mark.parametrize("kind", ["at most once", "at least once"])
def test_a_second_signal_ends_the_grace(kind: str) -> None:
    run_python(
        f"""{BLOCKED}
ended = threading.Event()

@spin.task(name="endless", max_retries={int(kind == "at least once")})
def endless():
    kill(signal.SIGTERM)
    while not spin._pool._in_flight._closed:  # the first signal has been acted on
        ended.wait(0.001)
    kill(signal.SIGTERM)
    ended.wait()

spin.schedule("endless")
spin.start_workers(1)
(counts,) = spin._broker.counts(["spinach"])
assert (counts.ready, counts.leased) == {(1, 0) if kind == "at least once" else (0, 1)}, counts
ended.set()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(20)
(counts,) = spin._broker.counts(["spinach"])
# What came late counts only for the job that was not given back.
assert (counts.ready, counts.leased, counts.failed) == {
            (1, 0, 0) if kind == "at least once" else (0, 0, 0)
        }, counts
{AFTER}"""
    )


@posix
@pytest.mark.parametrize("grace", ["None", "timedelta(minutes=10)"])
@pytest.mark.parametrize("end", ["check", "release"])
def test_a_task_that_listens_gives_its_job_back_at_the_first_signal(end: str, grace: str) -> None:
    run_python(
        f"""{BLOCKED}
from spinach import current_job

@spin.task(name="long", max_retries=1)
def long():
    ran.append(current_job().attempt)
    if len(ran) == 1:
        kill(signal.SIGTERM)
        while not current_job().should_stop:
            threading.Event().wait(0.001)
        current_job().{end}()

spin.schedule("long")
spin.start_workers(1, grace={grace})
(counts,) = spin._broker.counts(["spinach"])
assert (counts.ready, counts.leased, counts.retrying, counts.failed) == (1, 0, 0, 0), counts
spin.start_workers(1, stop_when_queue_empty=True)
assert ran == [1, 1], ran  # it cost no attempt
{AFTER}"""
    )


@posix
def test_many_signals_corrupt_nothing() -> None:
    run_python(
        f"""{BLOCKED}
@spin.task(name="kill")
def task(number):
    kill(signal.SIGINT if number % 2 else signal.SIGTERM)
    ran.append(number)

for number in range(30):
    spin.schedule("kill", number)
def left():
    # A second signal leaves a job that may not run twice to its thread, which reports
    # it when it ends.
    while True:
        (counts,) = spin._broker.counts(["spinach"])
        assert counts.failed == 0, counts
        if not counts.leased:
            return counts.unfinished

while left():  # each start ends by the signals of its own jobs
    spin.start_workers(3, stop_when_queue_empty=True)
assert sorted(ran) == list(range(30)), ran
{AFTER}"""
    )


def test_a_blocking_start_off_the_main_thread_waits_and_touches_no_handler() -> None:
    run_python(
        f"""{BLOCKED}
during = []

@spin.task(name="look")
def look():
    during.append({{n: signal.getsignal(n) for n in before}})
    ran.append(threading.current_thread().name)

spin.schedule("look")
thread = threading.Thread(target=spin.start_workers, args=(1,), kwargs={{
    "stop_when_queue_empty": True}})
thread.start()
thread.join(20)
assert not thread.is_alive()
assert ran == ["spinach-worker-1"]
assert during == [before]
{AFTER}"""
    )


def test_a_start_that_does_not_block_touches_no_handler() -> None:
    run_python(
        f"""{BLOCKED}
spin.start_workers(1, block=False)
assert {{n: signal.getsignal(n) for n in before}} == before
spin.stop_workers()
{AFTER}"""
    )


def test_handlers_are_back_after_an_error_too() -> None:
    run_python(
        f"""{BLOCKED}
class Broken(MemoryBroker):
    def fetch(self, *args, **kwargs):
        raise ZeroDivisionError

import logging
logging.disable()
spin = Engine(Broken())
try:
    spin.start_workers(1)
except ZeroDivisionError:
    pass
else:
    raise AssertionError("the error did not come")
{AFTER}"""
    )


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@forks
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "former",
    [
        "signal.SIG_DFL",
        pytest.param(
            "lambda *_: os._exit(7)",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 13),
                reason="Python itself runs no handlers in a child that another thread than the "
                "main one forked",
            ),
        ),
    ],
)
def test_a_signal_does_in_a_child_of_a_task_what_it_did_before(name: str, former: str) -> None:
    """As `terminate()` of `multiprocessing` sends it, which waits for the child's end."""
    run_python(
        f"""{BLOCKED}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
before = signal.signal(signal.{name}, {former})

@spin.task(name="fork")
def task():
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # which ends it, should nothing else
        os.write(begin, b"x")
        while True:
            signal.pause()
    os.read(begun, 1)
    os.kill(child, signal.{name})
    ran.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

spin.schedule("fork")
spin.start_workers(1, stop_when_queue_empty=True)
assert ran == [7 if "exit" in {former!r} else -signal.{name}], ran
""",
        timeout=20,
    )


class TestShutdown:
    """The class alone, in this process."""

    def test_a_signal_is_told_from_a_wake_up(self) -> None:
        with Shutdown() as shutdown:
            shutdown.wake()
            signal.raise_signal(signal.SIGTERM)
            assert shutdown.wait(20) is False
            assert shutdown.wait(20) is True

    def test_a_wait_without_any_event_ends(self) -> None:
        with Shutdown() as shutdown:
            assert shutdown.wait(0.001) is False

    def test_handlers_are_put_back(self) -> None:
        numbers = [signal.SIGINT, signal.SIGTERM]
        before = [signal.getsignal(number) for number in numbers]
        with Shutdown():
            during = [signal.getsignal(number) for number in numbers]
        assert [signal.getsignal(number) for number in numbers] == before
        assert not set(during) & set(before)

    def test_elsewhere_than_on_the_main_thread_it_changes_nothing(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        during = []

        def enter() -> None:
            with Shutdown():
                during.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert during == [before]
