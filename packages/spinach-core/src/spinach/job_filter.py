"""Records of a program's own loggers, with the job that they were logged in."""

from __future__ import annotations

import logging

from spinach.current import RUNNING
from spinach.record.ids import job_id_of

__all__ = ["JobFilter"]


class JobFilter(logging.Filter):
    """A filter of `logging` that drops nothing and adds four attributes to each record.

    They are `job_id`, `task` and `queue`, which are empty texts outside a job, and `attempt`, a
    number from 1, which is None outside. A record that has one of them already keeps it, as those
    of Spinach's own loggers do. Add it to a handler, to see it in all records that pass there, or
    to a logger, to see it in those that are logged by this very logger. It may be shared.

    Args:
        name: as for `logging.Filter`: only records of this logger and those below it pass; empty
            lets all of them pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes.

        Returns:
            Whether the record passes.
        """
        passes = super().filter(record)
        attributes = vars(record)
        running = RUNNING.get(None)
        if running is None:
            attributes.setdefault("job_id", "")
            attributes.setdefault("task", "")
            attributes.setdefault("queue", "")
            attributes.setdefault("attempt", None)
        else:
            lease = running[0].lease
            attributes.setdefault("job_id", job_id_of(lease.stored_id))
            attributes.setdefault("task", running[0].task.name)
            attributes.setdefault("queue", lease.queue)
            attributes.setdefault("attempt", lease.retries + 1)
        return bool(passes)
