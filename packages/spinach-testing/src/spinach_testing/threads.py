"""The threads of one engine, and those that outlive a test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spinach.support.realtime import time

from .errors import LeakedThreads
from .listing import call_text
from .running import stack_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from .recording import Recording
    from .running import RunningJobs

__all__ = ["check_for_leaks", "join", "join_idle", "of_engine"]

#: The parts that a pool's threads have in their names, after the namespace.
_PARTS = ("worker-", "arbiter", "result-notifier", "subscriber")

#: Between two looks at which threads run a job, in real seconds.
_LOOK_SECONDS = 0.05


def of_engine(namespace: str) -> set[threading.Thread]:
    """The living threads of an engine, found by their names."""
    prefixes = tuple(f"{namespace}-{part}" for part in _PARTS)
    return {each for each in threading.enumerate() if each.name.startswith(prefixes)}


def join(threads: Collection[threading.Thread], seconds: float) -> set[threading.Thread]:
    """Wait for threads to end.

    Args:
        threads: to wait for.
        seconds: real, for all of them together.

    Returns:
        Those that are still alive.
    """
    end = time.monotonic() + seconds
    # The arbiter ends last. Once it is joined, the others have ended.
    for thread in sorted(threads, key=lambda each: not each.name.endswith("-arbiter")):
        thread.join(max(0.0, end - time.monotonic()))
    return {thread for thread in threads if thread.is_alive()}


def join_idle(threads: Collection[threading.Thread], running: RunningJobs, seconds: float) -> None:
    """Wait for the threads that run no job.

    A thread may begin the job that it has taken while it is waited for: it is asked anew.

    Args:
        threads: to wait for, unless they run a job.
        running: tells which do.
        seconds: real, for all of them together.
    """
    end = time.monotonic() + seconds
    while (idle := [each for each in threads if each.is_alive() and running.of(each) is None]) and (
        (left := end - time.monotonic()) > 0
    ):
        join(idle, min(left, _LOOK_SECONDS))


def check_for_leaks(recording: Recording, left: Collection[threading.Thread]) -> None:
    """Fail if threads of the engine outlive the test.

    Threads that an earlier error of the test has named are left out.

    Args:
        recording: of the engine.
        left: threads that did not end in time.

    Raises:
        LeakedThreads: names each, with its job and its stack.
    """
    __tracebackhide__ = True
    namespace = recording.engine.namespace
    left = set(left) - recording.told_threads
    if not left:
        return
    parts = []
    for thread in sorted(left, key=lambda each: each.name):
        job = recording.running.of(thread)
        doing = "runs no job"
        if job is not None:
            call = call_text(job.task_name, job.task_args, job.task_kwargs)
            doing = f"still runs {call} {job.id}, attempt {job.attempt}"
        parts.append(f"{thread.name} {doing}:\n{stack_text(thread.ident)}")
    count = "1 thread" if len(left) == 1 else f"{len(left)} threads"
    outlives = "outlives" if len(left) == 1 else "outlive"
    raise LeakedThreads(
        f"{count} of engine {namespace} {outlives} the test. End what jobs wait for before the "
        "test ends.\n" + "\n".join(parts)
    )
