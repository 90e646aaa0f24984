"""What the plugin raises to fail a test.

::

    AssertionError
    ├── DrainTimeout     jobs still ran when the real time for them was over
    ├── UnfinishedJobs   jobs were left when virtual time or attempts were used up, or
    │                    somebody stopped the workers
    ├── LeakedThreads    threads of the test's engine outlived the test
    └── TaskRaised       a task raised what pytest would not count as a failure

Wrong use raises the engine's own `InvalidArgument` and `WorkersRunning`.
"""

from __future__ import annotations

__all__ = ["DrainTimeout", "LeakedThreads", "TaskRaised", "UnfinishedJobs"]


class DrainTimeout(AssertionError):
    """Jobs still ran when the real time for them was over."""


class UnfinishedJobs(AssertionError):
    """Jobs were left when the virtual time, or the number of attempts, was used up; or the
    workers were stopped by somebody else than the plugin."""


class LeakedThreads(AssertionError):
    """Threads of the test's engine outlived the test."""


class TaskRaised(AssertionError):
    """A task raised what would skip the test, end the run, or not arrive: `pytest.skip`,
    `SystemExit` and their like. What it raised is the `__cause__`. Or one whose class raises when
    it is shown; that one has no `__cause__`."""
