"""The threads of one engine, and what is left of them."""

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

__all__ = ["check_for_leaks", "join", "of_engine"]

#: The parts that a pool's threads have in their names, after the namespace.
_PARTS = ("worker-", "arbiter", "result-notifier", "subscriber")


def of_engine(namespace: str) -> set[threading.Thread]:
    """The living threads of an engine, by their names; other threads do not count."""
    prefixes = tuple(f"{namespace}-{part}" for part in _PARTS)
    return {each for each in threading.enumerate() if each.name.startswith(prefixes)}


def join(threads: Collection[threading.Thread], seconds: float) -> set[threading.Thread]:
    """Wait for threads to end.

    Args:
        threads: to wait for.
        seconds: real, for all of them together.

    Returns:
        Those that still live.
    """
    end = time.monotonic() + seconds
    # The arbiter is the last to end: after it the others need no wait of their own.
    for thread in sorted(threads, key=lambda each: not each.name.endswith("-arbiter")):
        thread.join(max(0.0, end - time.monotonic()))
    return {thread for thread in threads if thread.is_alive()}


def check_for_leaks(recording: Recording, left: Collection[threading.Thread]) -> None:
    """Fail if threads of the engine outlive the test.

    Those that a hang of the test has named already are left out: one report is enough.

    Args:
        recording: of the engine.
        left: those that did not end while the test's end waited for them.

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
    who = "1 thread" if len(left) == 1 else f"{len(left)} threads"
    outlives = "outlives" if len(left) == 1 else "outlive"
    raise LeakedThreads(
        f"{who} of engine {namespace} {outlives} the test. End what jobs wait for before the "
        "test ends.\n" + "\n".join(parts)
    )
