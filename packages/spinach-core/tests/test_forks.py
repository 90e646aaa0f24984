"""A task, or whatever else of a user's runs on a thread of the engine, forks.

The parent goes on as if nothing had happened. The child ends where that code comes back.
"""

from __future__ import annotations

import os

import pytest

from .support import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

#: What each program begins with: `leave(how)` forks, and the child leaves in that way; the
#: parent waits for it and keeps its status. What runs writes a line with its process.
BEGIN = """
import logging, multiprocessing, os, signal, sys, tempfile, threading, warnings
from collections import Counter
from spinach import Batch, Engine, MemoryBroker, RetryException, signals

# Python warns of forks in a process with threads; that is what is tested here.
warnings.filterwarnings("ignore", category=DeprecationWarning)
parent = os.getpid()
path = tempfile.mktemp()
log = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

def note(what):
    os.write(log, f"{os.getpid()} {what}\\n".encode())

def notes():
    with open(path) as lines:
        return [line.split(maxsplit=1) for line in lines.read().splitlines()]

def check():
    # Children are named by what they did after they left.
    assert [each for each in notes() if each[0] != str(parent)] == []

statuses = {}

def leave(how):
    pid = os.fork()
    if pid:
        statuses[how] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return
    print(f"child that leaves by {how}")
    if how == "exit":
        sys.exit(3)
    if how == "exit without a code":
        sys.exit()
    if how == "exit with a text":
        sys.exit("a text for stderr")
    if how == "raise":
        raise ValueError("in the child")
    assert how == "return", how
"""

ENDS = {"return": 0, "exit": 3, "exit without a code": 0, "exit with a text": 1, "raise": 1}


@pytest.mark.concurrency
def test_a_task_that_forks_makes_no_second_worker() -> None:  # I3
    done = run_python(
        f"""{BEGIN}
spin = Engine(MemoryBroker())
spin.task(name="note")(note)
spin.task(name="leave")(leave)
batch = Batch()
for number in range(6000):
    batch.schedule("note", number)
    if number % 1000 == 500 and number < 5000:
        batch.schedule("leave", {list(ENDS)!r}[number // 1000])
spin.schedule_batch(batch)
spin.start_workers(5, stop_when_queue_empty=True)
check()
assert Counter(what for _, what in notes()) == Counter(map(str, range(6000)))
assert statuses == {ENDS!r}, statuses
assert spin.failed.list() == []
""",
        PYTHONUNBUFFERED="",  # what is printed waits to be flushed
    )
    assert sorted(done.stdout.splitlines()) == sorted(f"child that leaves by {how}" for how in ENDS)
    assert done.stderr.count("Traceback") == 1
    assert "ValueError: in the child" in done.stderr
    assert "a text for stderr" in done.stderr


#: Where code of users' runs, beside tasks: statements that fork there once, by `once()`.
PLACES = {
    **{
        name: f"signals.{name}.connect(lambda sender, **_: once(), weak=False)"
        for name in (
            "job_started",
            "job_schedule_retry",
            "job_failed",
            "job_finished",
            "worker_started",
            "worker_terminated",
        )
    },
    "callback": "callback = once",
    "random source": "uniform = once",
    "counts of the arbiter": "after['counts', 'arbiter'] = once",
    "fetch of the subscriber": "after['fetch', 'subscriber'] = once",
    "report of the notifier": "after['report', 'notifier'] = once",
    **{
        f"log of the {message!r}": f"at_log[{message!r}] = once"
        for message in (
            "Worker thread %s started",
            "Job started: %s %s",
            "Job succeeded: %s %s, %.1f ms",
            "Job failed: %s %s, attempt %d",
            "Job will be retried: %s %s, attempt %d, again %s",
            "Queues are empty, stopping the workers",
        )
    },
}


@pytest.mark.concurrency
@pytest.mark.parametrize("how", ["return", "exit", "raise"])
@pytest.mark.parametrize("place", PLACES)
def test_a_fork_anywhere_on_a_thread_of_the_engine_ends_with_the_code_that_forked(
    place: str, how: str
) -> None:
    run_python(
        f"""{BEGIN}
at_log, after = {{}}, {{}}
callback = uniform = lambda: None
forked = threading.Lock()

def once():
    if forked.acquire(blocking=False):
        leave({how!r})

# Not a handler: it would hold a lock that Python renews in the child, and fail to release it.
class Filter(logging.Filter):
    def filter(self, record):
        note(record.msg)
        at_log.get(record.msg, lambda: None)()
        return False

handler = logging.StreamHandler()
handler.addFilter(Filter())
logging.getLogger("spinach").addHandler(handler)
logging.getLogger("spinach").setLevel(logging.DEBUG)

class Broker(MemoryBroker):
    def called(self, name):
        note(name)
        thread = threading.current_thread().name.rpartition("-")[2]
        after.get((name, thread), lambda: None)()

    def fetch(self, *args, **options):
        reply = super().fetch(*args, **options)
        self.called("fetch")
        return reply

    def report(self, outcomes):
        reply = super().report(outcomes)
        self.called("report")
        return reply

    def counts(self, queues):
        reply = super().counts(queues)
        self.called("counts")
        return reply

    def leave(self, turn):
        self.called("leave")
        return super().leave(turn)

class Source:
    def uniform(self, low, high):
        uniform()
        return 0.0

spin = Engine(Broker(), random_source=Source())

@spin.task(name="again", max_retries=1)
def again():
    note("again")
    raise ValueError("in the parent")

@spin.task(name="note")
def run():
    note("note")
    spin._pool._in_flight.run_callback(callback)

def hear(name):
    getattr(signals, name).connect(lambda sender, **_: note(name), weak=False)

# One receiver before the one that forks, one after it.
for name in dir(signals):
    if name.startswith(("job_", "worker_")):
        hear(name)
{PLACES[place]}
for name in dir(signals):
    if name.startswith(("job_", "worker_")):
        hear(name)

spin.start_workers(2, block=False)
spin.schedule("note")
spin.schedule("again")
spin.stop_workers()
spin.start_workers(2, stop_when_queue_empty=True)
check()
assert statuses == {{{how!r}: {ENDS[how]}}}, statuses
ran = Counter(what for _, what in notes())
assert (ran["note"], ran["again"]) == (1, 2), ran
""",
        timeout=30,
    )


@pytest.mark.concurrency
@pytest.mark.parametrize("how", ["return", "exit", "raise"])
def test_a_backoff_that_forks_ends_with_the_code_that_forked(how: str) -> None:
    run_python(
        f"""{BEGIN}
from datetime import timedelta

class Filter(logging.Filter):
    def filter(self, record):
        note(record.msg)
        return False

logging.getLogger("spinach.job").addFilter(Filter())
spin = Engine(MemoryBroker())

def backoff(attempt):
    leave({how!r})
    return timedelta(0) if os.getpid() == parent else None

@spin.task(name="again", max_retries=1, backoff=backoff)
def again():
    raise ValueError("in the parent")

spin.schedule("again")
spin.start_workers(1, stop_when_queue_empty=True)
check()
assert statuses == {{{how!r}: {ENDS[how]}}}, statuses
assert [each.error for each in spin.failed.list()] == ["builtins.ValueError"]
"""
    )


def test_the_child_of_a_task_may_start_workers_of_its_own() -> None:
    run_python(
        f"""{BEGIN}
spin = Engine(MemoryBroker())

@spin.task(name="note")
def noted(number):
    print("ran", number, "in the", "parent" if os.getpid() == parent else "child", flush=True)

@spin.task(name="fork")
def fork():
    pid = os.fork()
    if pid:
        statuses["child"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return
    # A memory store belongs to its process; the child begins with an empty one.
    spin.schedule("note", 1)
    spin.start_workers(2, stop_when_queue_empty=True)
    sys.exit(5)

spin.schedule("fork")
spin.schedule("note", 2)
spin.start_workers(1, stop_when_queue_empty=True)
assert statuses == {{"child": 5}}, statuses
"""
    )


def test_multiprocessing_works_in_a_task() -> None:
    done = run_python(
        f"""{BEGIN}
spin = Engine(MemoryBroker())
context = multiprocessing.get_context("fork")

def square(connection, number):
    connection.send(number * number)

@spin.task(name="square")
def in_a_process(number):
    here, there = context.Pipe()
    process = context.Process(target=square, args=(there, number))
    process.start()
    note(here.recv())
    process.join()
    assert process.exitcode == 0

for number in range(3):
    spin.schedule("square", number)
spin.start_workers(2, stop_when_queue_empty=True)
check()
assert sorted(what for _, what in notes()) == ["0", "1", "4"], notes()
assert spin.failed.list() == []
"""
    )
    assert "Traceback" not in done.stderr


def test_a_signal_handler_that_forks_lets_start_workers_return_in_the_child() -> None:
    run_python(
        f"""{BEGIN}
spin = Engine(MemoryBroker())
begun = threading.Event()

def fork(number, frame):
    pid = os.fork()
    if pid:
        statuses["child"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        spin.stop_workers(False)

@spin.task(name="signal")
def send():
    os.kill(os.getpid(), signal.SIGUSR1)

signal.signal(signal.SIGUSR1, fork)
spin.schedule("signal")
spin.start_workers(2)
if os.getpid() != parent:
    os._exit(7)
assert statuses == {{"child": 7}}, statuses
"""
    )


def test_a_stream_that_another_thread_had_locked_does_not_keep_the_child() -> None:
    run_python(
        f"""{BEGIN}
import spinach.support.forks
spinach.support.forks._WRITE_SECONDS = 0.1
reading, writing = os.pipe()
stream = open(writing, "w")
begun = threading.Event()

def fill():
    begun.set()
    stream.write("x" * 10_000_000)  # more than a pipe holds: it blocks with the lock taken
    stream.flush()

spin = Engine(MemoryBroker())

@spin.task(name="fork")
def fork():
    # What is there to be read was written with the lock taken.
    os.read(reading, 1)
    pid = os.fork()
    if not pid:
        sys.stdout = stream
        return
    statuses["child"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

threading.Thread(target=fill, daemon=True).start()
begun.wait()
spin.schedule("fork")
spin.start_workers(1, stop_when_queue_empty=True)
assert statuses == {{"child": 0}}, statuses
os._exit(0)  # without a flush, which would wait for the pipe
""",
        timeout=30,
    )
