"""Programs that end while their workers run, each in an interpreter of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

from spinach import Engine, MemoryBroker
from spinach.worker import at_exit

from .support import PATIENCE, run_python

BEGIN = """
import logging, sys, threading, time
from datetime import timedelta
from spinach import Engine, MemoryBroker

logging.basicConfig(format="%(message)s", level="WARNING")
begun = threading.Event()
spin = Engine(MemoryBroker(), "shop")

def say(text):
    print(text, flush=True)
"""

WARNING = "The program ended while workers of namespace shop were running"

EXECUTOR = """
@spin.task(name="work")
def work():
    # Late, so that what it has the interpreter do at the end is registered late.
    from concurrent.futures import ThreadPoolExecutor
    begun.set()
    # Until the main thread has ended, or is about to.
    while threading.main_thread().is_alive() and not pool_stops():
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as pool:
        say(pool.submit(lambda: "in a pool").result())
    thread = threading.Thread(target=say, args=("on a thread",))
    thread.start()
    thread.join()

def pool_stops():
    return spin._pool.stopping
"""


starts_threads = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 3),
    reason="these releases start no thread from the moment on that the main thread has ended",
)


def program(*parts: str) -> str:
    return "\n".join(dedent(part) for part in (BEGIN, *parts))


@starts_threads
@pytest.mark.concurrency
@pytest.mark.parametrize(
    "end",
    ["pass", "sys.exit(0)", "spin.stop_workers(_join_arbiter=False)"],
    ids=["returns", "exits", "asks for the stop"],
)
def test_jobs_that_run_when_the_program_ends_may_use_executors_and_threads(end: str) -> None:
    done = run_python(
        program(
            EXECUTOR,
            """
            spin.schedule("work")
            spin.schedule("work")
            spin.start_workers(1, block=False)
            assert begun.wait(20)
            """,
            end,
        )
    )
    # The first one ran to its end; the second one was not begun.
    assert done.stdout.splitlines() == ["in a pool", "on a thread"]
    asked = "stop_workers" in end
    assert done.stderr.count(WARNING) == (0 if asked else 1)
    assert len(done.stderr.splitlines()) == (0 if asked else 1), done.stderr


@pytest.mark.parametrize("workers", ["", "spin.start_workers(1, block=False)"], ids=["none", "one"])
def test_the_interpreter_itself_may_call_stop_workers(workers: str) -> None:
    # Nothing of the program is below that call on the stack.
    done = run_python(program("import atexit", workers, "atexit.register(spin.stop_workers)"))
    assert "Traceback" not in done.stderr
    assert done.stderr.count(WARNING) == (1 if workers else 0)


@starts_threads
@pytest.mark.concurrency
@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("how", ["threading.Thread(target=late).start()", "atexit.register(late)"])
def test_workers_that_start_when_the_program_has_ended_run_nothing(how: str, block: bool) -> None:
    done = run_python(
        program(
            EXECUTOR,
            f"""
            import atexit
            spin.schedule("work")

            def late():
                while threading.main_thread().is_alive():
                    time.sleep(0.001)
                spin.start_workers(1, block={block})
                spin.stop_workers()
                say(spin._broker.counts(["spinach"])[0].ready)

            {how}
            """,
        )
    )
    assert done.stdout.splitlines() == ["1"]
    assert done.stderr.count(WARNING) == len(done.stderr.splitlines()) == 1, done.stderr


@starts_threads
@pytest.mark.concurrency
def test_program_that_ends_with_an_error_stops_its_workers_too() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program(
                EXECUTOR,
                """
                spin.schedule("work")
                spin.start_workers(1, block=False)
                assert begun.wait(20)
                raise ValueError("of the program")
                """,
            ),
        ],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["in a pool", "on a thread"]
    assert "ValueError: of the program" in done.stderr
    assert done.stderr.count(WARNING) == 1


@starts_threads
@pytest.mark.concurrency
def test_workers_that_block_another_thread_stop_when_the_main_thread_ends() -> None:
    done = run_python(
        program(
            EXECUTOR,
            """
            spin.schedule("work")
            thread = threading.Thread(target=spin.start_workers, args=(1,))
            thread.start()
            assert begun.wait(20)
            """,
        )
    )
    assert done.stdout.splitlines() == ["in a pool", "on a thread"]
    assert done.stderr.count(WARNING) == 1


@pytest.mark.concurrency
def test_grace_bounds_the_end_of_the_program() -> None:
    done = run_python(
        program(
            """
            @spin.task(name="forever", max_retries=1)
            def forever():
                begun.set()
                threading.Event().wait()

            spin.schedule("forever")
            spin.start_workers(1, block=False, grace=timedelta(0))
            assert begun.wait(20)
            """
        )
    )
    assert "Grace is over, and task forever still runs" in done.stderr


@pytest.mark.concurrency
def test_each_of_several_engines_is_stopped_and_told_of() -> None:
    done = run_python(
        program(
            """
            engines = [Engine(MemoryBroker(), name) for name in ("shop", "blog", "done")]
            for engine in engines:
                engine.task(name="nothing")(begun.set)
                engine.start_workers(1, block=False)
            engines[2].stop_workers()
            """
        )
    )
    told = [name for name in ("shop", "blog", "done") if f"namespace {name} were" in done.stderr]
    assert told == ["shop", "blog"]
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.concurrency
def test_program_that_stops_its_workers_ends_without_a_word() -> None:
    done = run_python(
        program(
            """
            spin.task(name="nothing")(begun.set)
            spin.schedule("nothing")
            for _ in range(3):
                spin.start_workers(1, block=False)
                spin.stop_workers()
            spin.start_workers(1, stop_when_queue_empty=True)
            """
        )
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.concurrency
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_while_the_program_waits_for_jobs_ends_the_grace() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            program(
                """
                @spin.task(name="forever", max_retries=1)
                def forever():
                    begun.set()
                    threading.Event().wait()

                import signal
                signal.signal(signal.SIGINT, signal.default_int_handler)
                spin.schedule("forever")
                spin.start_workers(1, block=False)
                assert begun.wait(20)
                """
            ),
        ],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with process:
        assert WARNING in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert "It is given back" in rest
    assert "Traceback" not in rest


@starts_threads
@pytest.mark.concurrency
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_waits_for_workers_of_its_own_and_not_for_those_of_its_parent() -> None:
    done = run_python(
        program(
            EXECUTOR,
            """
            import os, warnings
            warnings.simplefilter("ignore")
            Engine(MemoryBroker(), "idle").start_workers(1, block=False)
            child = os.fork()
            if child:
                status = os.waitpid(child, 0)[1]
                assert status == 0
                os._exit(0)
            spin.schedule("work")
            spin.start_workers(1, block=False)
            assert begun.wait(20)
            """,
        )
    )
    assert done.stdout.splitlines() == ["in a pool", "on a thread"]
    assert done.stderr.count(WARNING) == 1
    assert "namespace idle" not in done.stderr


@pytest.mark.concurrency
def test_without_the_hook_of_threading_the_end_of_the_interpreter_stops_them() -> None:
    done = run_python(
        program(
            """
            del threading._register_atexit
            spin.task(name="nothing")(begun.set)
            spin.start_workers(1, block=False)
            """
        ).replace("import logging,", "import concurrent.futures.thread, logging,")
    )
    assert done.stderr.count(WARNING) == 1


@pytest.mark.concurrency
def test_engines_that_start_and_stop_leave_nothing_with_the_interpreter() -> None:
    engine = Engine(MemoryBroker())
    engine.start_workers(1, block=False)
    engine.stop_workers()
    before = len(threading._threading_atexits), len(at_exit._pools)  # type: ignore[attr-defined]
    for _ in range(50):
        engine.start_workers(1, block=False)
        engine.stop_workers()
    assert (len(threading._threading_atexits), len(at_exit._pools)) == before  # type: ignore[attr-defined]


def test_a_program_that_blocks_its_main_thread_imports_no_executor() -> None:
    run_python(
        program(
            """
            spin.start_workers(1, stop_when_queue_empty=True)
            assert "concurrent.futures.thread" not in sys.modules
            """
        )
    )
