"""What the plugin raises to fail a test.

::

    AssertionError
    ├── DrainTimeout     jobs still ran when the real time for them was over
    ├── UnfinishedJobs   jobs were left when virtual time or attempts were used up, or
    │                    the workers ended too early; or a wait for jobs would not end
    ├── LeakedThreads    threads of the test's engine outlived the test
    └── TaskRaised       a task raised what pytest would not count as a failure

Wrong calls raise the engine's own `InvalidArgument` and `WorkersRunning`.
"""

from __future__ import annotations

__all__ = ["DrainTimeout", "LeakedThreads", "TaskRaised", "UnfinishedJobs"]


class DrainTimeout(AssertionError):
    """Jobs still ran when the real time for them was over.

    Also raised by a wait for jobs that lasted for as long, beside `spinach_live_worker`.
    """


class UnfinishedJobs(AssertionError):
    """Jobs were left when the virtual time or the number of attempts was used up, or when the
    workers ended too early: a task stopped them, or one of their threads died.

    Also raised by a wait without an end for jobs that nobody runs, between the calls of
    `spinach_worker`.
    """


class LeakedThreads(AssertionError):
    """Threads of the test's engine outlived the test."""


class TaskRaised(AssertionError):
    """A task raised an exception that pytest would not count as a failure.

    It would skip the test or end the run, as `pytest.skip` and `SystemExit` do; then it is the
    `__cause__`. Or its class raises when a report shows it; then there is no `__cause__`.
    """
