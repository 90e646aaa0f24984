"""What is easily promised: imports and clients do nothing behind one's back."""

from __future__ import annotations

import gc
import importlib.util
import threading
import weakref
from collections import Counter
from collections.abc import Callable

import pytest

from spinach import Engine, Tasks, signals
from spinach_memory import MemoryBroker, MemoryStore

from .support import PATIENCE, Tally, engine_threads, run_python

PACKAGES = [
    package
    for package in ("spinach", "spinach_memory", "spinach_testing", "spinach_redis")
    if importlib.util.find_spec(package)
]

#: Imports a package and its modules under an audit hook, and compares the world.
IMPORT = """
import logging, os, signal, sys, threading

# What these do when imported is theirs.
import importlib, importlib.metadata, pkgutil, socket, uuid
try:
    import redis
except ImportError:
    pass

sys.dont_write_bytecode = True
done = []

def watch(event, args):
    if event in ("_thread.start_new_thread", "os.fork", "os.putenv", "os.unsetenv",
                 "socket.connect", "socket.bind", "subprocess.Popen", "signal.set_wakeup_fd"):
        done.append(event)
    if event == "open":
        path, mode, flags = args
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
        if writes or set(mode or "") & set("wax+"):
            done.append(f"open {path}")

def world():
    root = logging.getLogger()
    loggers = logging.Logger.manager.loggerDict.values()
    return {
        "handlers": {
            number: signal.getsignal(number) for number in signal.valid_signals()
        },
        "root": (root.level, list(root.handlers), list(root.filters)),
        "levels": sorted(
            (logger.name, logger.level)
            for logger in loggers
            if isinstance(logger, logging.Logger) and logger.level
        ),
        "raise": logging.raiseExceptions,
        "disabled": root.manager.disable,
        "class": logging.getLoggerClass(),
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "excepthook": (sys.excepthook, threading.excepthook),
        "trace": (sys.gettrace(), threading.gettrace(), sys.getprofile()),
        "switch": sys.getswitchinterval(),
        "recursion": sys.getrecursionlimit(),
        "threads": threading.enumerate(),
    }

before = world()
sys.addaudithook(watch)
package = importlib.import_module(PACKAGE)
modules = [m.name for m in pkgutil.walk_packages(package.__path__, PACKAGE + ".")]
for name in modules:
    if "pytest" not in name and "conformance" not in name:
        importlib.import_module(name)
after = world()
assert not done, done
for key in before:
    assert before[key] == after[key], (key, before[key], after[key])
for name in list(logging.Logger.manager.loggerDict):
    if name.split(".")[0].startswith("spinach"):
        assert not logging.getLogger(name).handlers, name
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_an_import_starts_changes_and_writes_nothing(package: str) -> None:
    run_python(f"PACKAGE = {package!r}\n{IMPORT}")


def test_an_import_of_core_loads_no_broker() -> None:
    run_python(
        "import sys, spinach\n"
        "loaded = [name for name in sys.modules if name.startswith('spinach_')]\n"
        "assert not loaded, loaded\n"
    )


def busy_client(number: int = 0) -> Engine:
    """An engine that did all that a client does."""
    engine = Engine(MemoryBroker(), f"client-{number}")
    tasks = Tasks()
    tasks.add(print, "print")
    engine.attach_tasks(tasks)
    engine.schedule("print", 1)
    tasks.schedule("print", 2)
    engine.execute("print", end="")
    assert engine.failed.list() == []
    engine.stop_workers()
    return engine


def test_client_mode_starts_no_thread() -> None:
    before = threading.enumerate()
    busy_client()
    assert threading.enumerate() == before


@pytest.mark.parametrize("number", [1, 2, 7])
def test_worker_mode_runs_n_plus_three_threads_with_their_names(number: int) -> None:
    engine = Engine(MemoryBroker(), "shop")
    before = set(threading.enumerate())
    engine.start_workers(number, block=False)
    started = set(threading.enumerate()) - before
    try:
        assert {thread.name for thread in started} == {
            "shop-arbiter",
            "shop-result-notifier",
            "shop-subscriber",
            *(f"shop-worker-{n}" for n in range(1, number + 1)),
        }
        assert len(started) == number + 3
        assert all(thread.daemon for thread in started)
    finally:
        engine.stop_workers()
    assert set(threading.enumerate()) == before


def receivers() -> int:
    gc.collect()  # signals hold receivers weakly
    return sum(len(getattr(signals, name).receivers) for name in signals.__all__)


def test_a_thousand_engines_made_and_dropped_leave_nothing() -> None:
    threads, connected = threading.enumerate(), receivers()
    alive = weakref.WeakSet[Engine]()
    for number in range(1000):
        alive.add(busy_client(number))
    gc.collect()
    assert threading.enumerate() == threads
    assert receivers() == connected
    assert len(alive) == 0


def test_engines_that_had_workers_leave_nothing_either() -> None:
    # Their atexit hook, which would keep them alive, goes with their threads.
    alive = weakref.WeakSet[Engine]()
    for number in range(20):
        engine = busy_client(number)
        engine.start_workers(1, stop_when_queue_empty=True)
        engine.start_workers(1, block=False)
        engine.stop_workers()
        alive.add(engine)
        del engine
    gc.collect()
    assert len(alive) == 0


def test_a_shared_registry_keeps_the_engine_only_until_it_is_detached() -> None:
    tasks = Tasks()
    alive = weakref.WeakSet[Engine]()
    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks)
    alive.add(engine)
    engine.detach_tasks(tasks)
    del engine
    gc.collect()
    assert len(alive) == 0


@pytest.mark.concurrency
def test_fifty_threads_schedule_on_one_engine_and_every_job_runs_once() -> None:
    done = Tally()
    engine = Engine(MemoryBroker())
    engine.task(name="note")(done.add)
    start = threading.Barrier(50)

    def schedule(thread: int) -> None:
        start.wait(PATIENCE)
        for number in range(20):
            engine.schedule("note", [thread, number])

    threads = [threading.Thread(target=schedule, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    engine.start_workers(4, block=False)
    for thread in threads:
        thread.join(PATIENCE)
    engine.stop_workers()
    engine.start_workers(4, stop_when_queue_empty=True)
    assert Counter(map(tuple, done.calls)) == Counter(
        (thread, number) for thread in range(50) for number in range(20)
    )


@pytest.mark.concurrency
def test_five_hundred_workers_start_run_and_stop() -> None:
    done = Tally()
    engine = Engine(MemoryBroker(), "crowd")
    engine.task(name="note")(done.add)
    for number in range(1000):
        engine.schedule("note", number)
    engine.start_workers(500, block=False)
    assert len(engine_threads("crowd")) == 503
    engine.stop_workers()
    assert engine_threads("crowd") == []
    engine.start_workers(500, stop_when_queue_empty=True)
    assert Counter(done.calls) == Counter(range(1000))


@pytest.mark.concurrency
def test_signals_of_engines_that_run_side_by_side_do_not_mix() -> None:
    store = MemoryStore()
    heard: dict[str, list[str]] = {"shop": [], "blog": []}

    def receiver(name: str) -> Callable[..., None]:
        def receive(namespace: str, **kwargs: object) -> None:
            heard[name].append(namespace)

        return receive

    engines, kept = [], []
    for name in heard:
        engine = Engine(MemoryBroker(store), name)
        engine.task(name="nothing")(lambda: None)
        for signal in signals.__all__:
            receive = receiver(name)
            kept.append(receive)
            getattr(signals, signal).connect(receive, sender=name)
        for _ in range(50):
            engine.schedule("nothing")
        engines.append(engine)
    threads = [
        threading.Thread(
            target=engine.start_workers, args=(3,), kwargs={"stop_when_queue_empty": True}
        )
        for engine in engines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for name, senders in heard.items():
        assert Counter(senders) == Counter({name: 106})  # 50 starts, 50 ends, 3 + 3 workers


QUICKSTART = """
from spinach import Engine, MemoryBroker, Tasks

tasks = Tasks()
results = []

@tasks.task(name="compute")
def compute(a, b):
    results.append(a + b)

@tasks.task(name="again", max_retries=1)
def again():
    results.append("again")

spin = Engine(MemoryBroker())
spin.attach_tasks(tasks)
spin.schedule(compute, 5, 3)
spin.schedule("again")
spin.start_workers(number=1, block=False)
spin.stop_workers()
spin.start_workers(number=2, stop_when_queue_empty=True)
assert sorted(map(str, results)) == ["8", "again"], results
"""


def test_the_quickstart_runs_where_windows_has_less() -> None:
    run_python(
        """
import importlib.abc, os, signal, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

# Not what the interpreter itself built on already.
HIDDEN = {"fcntl", "pwd", "grp", "termios", "resource", "_posixsubprocess"}
import concurrent.futures, logging, random, subprocess, threading, uuid, platform
for name in HIDDEN:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
for name in ("fork", "forkpty", "register_at_fork", "getuid", "geteuid", "killpg", "setsid"):
    delattr(os, name)
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGCHLD", "setitimer", "pthread_kill",
             "sigwait", "pthread_sigmask", "alarm", "pause"):
    delattr(signal, name)
"""
        + QUICKSTART
    )


def test_an_interpreter_that_ends_with_workers_running_stops_them_in_order() -> None:
    done = run_python(
        """
import threading
from spinach import Engine, MemoryBroker, signals

begun, store = threading.Event(), MemoryBroker()
spin = Engine(store)

@spin.task(name="slow")
def slow():
    begun.set()
    threading.current_thread().name  # still alive while the interpreter waits for us
    for _ in range(200000):
        pass
    print("slow ended", flush=True)

@signals.worker_terminated.connect_via(spin.namespace)
def ended(namespace, worker_name, **kwargs):
    print(worker_name, "ended", flush=True)

spin.schedule("slow")
spin.start_workers(1, block=False)
begun.wait(20)
"""
    )
    assert done.stdout.splitlines() == ["slow ended", "spinach-worker-1 ended"]
    assert "Traceback" not in done.stderr


def test_an_interpreter_that_ends_waits_no_longer_than_the_grace() -> None:
    run_python(
        """
import threading
from datetime import timedelta
from spinach import Engine, MemoryBroker

begun = threading.Event()
spin = Engine(MemoryBroker())

@spin.task(name="endless")
def endless():
    begun.set()
    threading.Event().wait()

spin.schedule("endless")
spin.start_workers(1, block=False, grace=timedelta(milliseconds=50))
begun.wait(20)
""",
        timeout=30,
    )
