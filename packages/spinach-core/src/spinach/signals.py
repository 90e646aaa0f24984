"""What an engine tells about its jobs and workers while they run.

The sender is the engine's namespace, so connect to it to hear one engine only::

    @signals.job_failed.connect_via(spin.namespace)
    def on_failure(namespace, job, err, **kwargs): ...

Receivers run in the worker thread, one after another, and should be quick. One
that raises is logged and harms nothing. Take ``**kwargs``, since a later release
may send more.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal

from spinach.support.checks import refuse_unfinished
from spinach.support.exception_text import shown
from spinach.support.forks import leave_child
from spinach.support.shield import SHIELD

__all__ = [
    "job_expired",
    "job_failed",
    "job_finished",
    "job_schedule_retry",
    "job_started",
    "worker_started",
    "worker_terminated",
]

_LOGGER = logging.getLogger("spinach.signals")


class SafeSignal(NamedSignal):
    """A signal whose receivers cannot harm the sender."""

    def send(self, sender: Any | None = None, /, **kwargs: Any) -> list[tuple[Any, Any]]:
        """Call each receiver of this sender; those that raise are logged and left out.

        Returns:
            (receiver, what it returned), as blinker does.
        """
        if not self.receivers:
            return []
        results = []
        for receiver in self.receivers_for(sender):
            try:
                result = receiver(sender, **kwargs)
                leave_child()
                if (refusal := refuse_unfinished(receiver, result)) is not None:
                    raise refusal
                results.append((receiver, result))
            except BaseException as exc:
                leave_child(exc)
                with SHIELD:
                    _LOGGER.exception(
                        "A receiver of signal %s raised; job and worker are unaffected",
                        self.name,
                        extra={"signal": self.name, "receiver": shown(receiver)},
                    )
        return results


#: A worker starts a job. Arguments: job.
job_started = SafeSignal("job_started")

#: An attempt failed and the job will be retried. Arguments: job, err.
job_schedule_retry = SafeSignal("job_schedule_retry")

#: A job failed for good, or lost its worker for good. Arguments: job, err.
job_failed = SafeSignal("job_failed")

#: A job was not run, since its attempt would have begun too late. Nothing follows. Arguments: job.
job_expired = SafeSignal("job_expired")

#: An attempt ended, whatever came of it; after the two above. Arguments: job.
job_finished = SafeSignal("job_finished")

#: A worker thread starts. Arguments: worker_name.
worker_started = SafeSignal("worker_started")

#: A worker thread ends. Arguments: worker_name.
worker_terminated = SafeSignal("worker_terminated")
