"""What people ask of a queue of the model, and how they steer it."""

from __future__ import annotations

from dataclasses import dataclass

from spinach.brokers.calls import CancelVerdict, Cursor, Ending, FailedPortion, JobEnd
from spinach.brokers.operating import Purgeable

from .entries import Failed, Job, take_out
from .model import ModelQueue

__all__ = ["SteeredQueue"]


@dataclass(eq=False)
class SteeredQueue(ModelQueue):
    """A queue of the model, and the calls of its operators."""

    # -- jobs --------------------------------------------------------------

    def cancel(self, stored_id: str) -> CancelVerdict:
        """Take a job back (I22)."""
        for lease in self.leases:
            if lease.job.stored_id == stored_id:
                if lease.serial not in self.to_cancel:
                    self.to_cancel.append(lease.serial)
                return CancelVerdict.REQUESTED
        if any(each.job.stored_id == stored_id for each in self.failed):
            return CancelVerdict.FINISHED
        for _, _, job in list(self.future):
            if job.stored_id == stored_id:
                self.future = [entry for entry in self.future if entry[2] is not job]
                return self._cancelled(job)
        for jobs in (self.ready, self.held, *self.parked.values()):
            for job in jobs:
                if job.stored_id != stored_id:
                    continue
                if jobs is self.ready and job.turn:
                    # Its slot may be on its way to it, and goes to the next one.
                    self._bring_back(1)
                jobs.remove(job)
                self._drop_empty_parks()
                return self._cancelled(job)
        return CancelVerdict.UNKNOWN

    def _cancelled(self, job: Job) -> CancelVerdict:
        self._keep(job, JobEnd(ending=Ending.CANCELLED))
        return CancelVerdict.CANCELLED

    def cancelled(self, name: str) -> set[str]:
        """Stored ids of the leases of a member whose cancel was asked for."""
        return {e.job.stored_id for e in self.owned(name) if e.serial in self.to_cancel}

    # -- the failed store --------------------------------------------------

    def retry_failed(self, stored_ids: list[str]) -> int:
        """Failed jobs become ready again, with all their retries before them."""
        found = take_out(self.failed, stored_ids)
        self.ready += [Job(stored_id=job.stored_id, record=job.record) for job in found]
        for job in found:
            self.ends.pop(job.stored_id, None)
        self.revived += len(found)
        return len(found)

    def discard_failed(self, stored_ids: list[str]) -> int:
        """Failed jobs are forgotten."""
        return len(take_out(self.failed, stored_ids))

    def take_portion(
        self, portion: FailedPortion, most: int, *, run: bool
    ) -> tuple[int, Cursor | None]:
        """Run some failed jobs again, or forget them: the oldest that were not looked at yet.

        Args:
            portion: which ones.
            most: how many to look at.
            run: to run them again.

        Returns:
            How many it were, and where to go on; None: nothing is left.
        """
        since_ms, after = portion.matching.since_ms, portion.after
        left = [
            each
            for each in self.failed
            if (since_ms is None or each.at_ms >= since_ms)
            and (after is None or each.cursor > after)
            and each.cursor <= portion.until
        ]
        looked = left[:most]
        chosen = [each.job.stored_id for each in looked if self._is_meant(each, portion)]
        count = (self.retry_failed if run else self.discard_failed)(chosen)
        return count, looked[-1].cursor if len(left) > most else None

    @staticmethod
    def _is_meant(each: Failed, portion: FailedPortion) -> bool:
        task, error = portion.matching.task, portion.matching.error
        return task in (None, each.job.task) and error in (None, each.failure.error)

    # -- queues and limits -------------------------------------------------

    def set_paused(self, *, paused: bool) -> bool:
        """Whether that is new (I24)."""
        changed, self.paused = paused is not self.paused, paused
        return changed

    def set_limit(self, task: str, limit: int | None) -> None:
        """Set the limit of a task, or leave it to the members (I10, I24)."""
        if limit is None:
            self.overrides.pop(task, None)
        else:
            self.overrides[task] = limit
            for lease in self.leases:
                # As where a member declares the first one.
                if lease.job.task == task:
                    lease.job.turn = lease.job.turn or next(self._turns)
        self._bring_back(len(self.held))

    def waiting_in(self, status: Purgeable) -> list[Job]:
        """What a purge would take, in the order in which it would."""
        if status == "failed":
            return [each.job for each in self.failed]
        if status == "waiting":
            return [job for _, _, job in sorted(self.future, key=lambda entry: entry[:2])]
        return [*self.ready, *self.held, *(job for park in self.parked.values() for job in park)]

    def purge(self, status: Purgeable, limit: int) -> tuple[int, bool]:
        """Forget some jobs; how many, and whether there are more (I24)."""
        gone = self.waiting_in(status)[:limit]
        self.failed = [each for each in self.failed if each.job not in gone]
        self.future = [entry for entry in self.future if entry[2] not in gone]
        self.ready = [job for job in self.ready if job not in gone]
        self.held = [job for job in self.held if job not in gone]
        for park in self.parked.values():
            park[:] = [job for job in park if job not in gone]
        self._drop_empty_parks()
        if status == "queued":
            # Slots may have been on their way to those that are gone.
            self._bring_back(len(self.held))
        return len(gone), bool(self.waiting_in(status))

    def _drop_empty_parks(self) -> None:
        self.parked = {task: park for task, park in self.parked.items() if park}
