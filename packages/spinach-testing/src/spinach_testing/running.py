"""Which job each worker thread runs, and which line of its code."""

from __future__ import annotations

import linecache
import re
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from spinach.current import RUNNING

from .listing import call_text, progress_text

if TYPE_CHECKING:
    from types import FrameType

    from spinach import Job
    from spinach.current import Attempt

__all__ = ["RunningJobs", "stack_text"]

_SLEEPS = re.compile(r"\bsleep\(")


class RunningJobs:
    """Jobs by the thread that runs them; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the three below
        self._jobs: dict[int, Job] = {}
        self._attempts: dict[int, Attempt] = {}
        self._started = 0

    @property
    def started(self) -> int:
        """Attempts that were started so far, without those that do not count."""
        return self._started

    def start(self, job: Job, *, counts: bool) -> None:
        """The calling thread runs this job now.

        Args:
            job: that it runs.
            counts: whether `started` counts it; not if a periodic task made it.
        """
        with self._lock:
            self._jobs[threading.get_ident()] = job
            if (running := RUNNING.get(None)) is not None:
                self._attempts[threading.get_ident()] = running[0]
            self._started += counts

    def end(self) -> None:
        """The calling thread runs no job now."""
        with self._lock:
            self._jobs.pop(threading.get_ident(), None)
            self._attempts.pop(threading.get_ident(), None)

    def of(self, thread: threading.Thread) -> Job | None:
        """The job that a thread runs."""
        with self._lock:
            return self._jobs.get(thread.ident or 0)

    def threads(self) -> set[threading.Thread]:
        """Those that run a job."""
        with self._lock:
            return {each for each in threading.enumerate() if each.ident in self._jobs}

    def report(self) -> str:
        """Each running job with the stack of its thread; `none` without any."""
        with self._lock:
            jobs, attempts = dict(self._jobs), dict(self._attempts)
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for ident, job in jobs.items():
            call = call_text(job.task_name, job.task_args, job.task_kwargs)
            thread = names.get(ident, "a thread that has ended")
            parts.append(
                f"{call} {job.id}, attempt {job.attempt}{_said(attempts.get(ident))}, in {thread}:"
                f"\n{stack_text(ident)}"
            )
        return "\n".join(parts) or "none"


def _said(attempt: Attempt | None) -> str:
    """What a job said of its progress, and that its cancel was asked for."""
    if attempt is None:
        return ""
    text = ""
    if (progress := attempt.progress) is not None:
        text = f", {progress_text(progress)}"
    return f"{text}, cancel asked for" if attempt.cancelled else text


def stack_text(ident: int | None) -> str:
    """The stack of a thread, with a hint if it ends in a sleep."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to other threads' stacks
    frame = frames.get(ident or 0)
    if frame is None:
        return "  (no stack: the thread has ended)\n"
    text = "".join(traceback.format_stack(frame))
    if _sleeps(frame):
        text += (
            "  It sleeps, and sleep takes real time: only the engine's own waits are virtual. "
            "Let the task raise RetryException(at=...) instead, or replace the sleep in the test.\n"
        )
    return text


def _sleeps(frame: FrameType) -> bool:
    """Whether the innermost line calls a sleep; built-in functions have no frame."""
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)
    return _SLEEPS.search(source) is not None
