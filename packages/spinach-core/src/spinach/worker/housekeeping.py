"""What any member does for its queue: recover the dead, make due jobs ready, fire ticks.

These calls carry no number, so they can be made while a fetch waits for a wake-up.
"""

from __future__ import annotations

import functools
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from spinach.brokers.calls import Deposit, Verdict
from spinach.clock import from_ms
from spinach.const import DEFAULT_MAX_PAYLOAD_BYTES
from spinach.job import JobStatus, job_from_record
from spinach.record import ids
from spinach.record.header import UnreadableRecord
from spinach.record.ids import job_id_of
from spinach.record.payload import complete_payload, encode_arguments
from spinach.support.log import JOB_LOGGER, WORKER_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spinach.brokers.calls import LostJob, PeriodicDue, RecoverReply
    from spinach.brokers.housekeeping import HousekeepingRole
    from spinach.job import Job
    from spinach.outcome import Lease
    from spinach.task import Task
    from spinach.worker.in_flight import InFlight
    from spinach.worker.membership import Membership

__all__ = ["Housekeeping", "tell_lost"]

#: Namespace of the ids of periodic jobs (UUID version 5).
_TICK_IDS = uuid.UUID("5f1c7d0e-3c0b-5b55-9e2f-6a6b7a0f7d11")


def tell_lost(
    in_flight: InFlight,
    on_lost: Callable[[Job], None],
    namespace: str,
    queue: str,
    lost: LostJob | Lease,
) -> None:
    """Have a worker thread tell of a job that failed without an outcome of its own.

    Args:
        in_flight: lets a worker thread make the call.
        on_lost: what it calls.
        namespace: of the job.
        queue: of the job.
        lost: the job.
    """
    try:
        job = job_from_record(
            lost.stored_id,
            lost.record,
            retries=lost.retries,
            status=JobStatus.FAILED,
            namespace=namespace,
        )
    except UnreadableRecord as exc:
        JOB_LOGGER.error(
            "Job failed: %s, its worker process was lost and its record cannot be read: %s",
            job_id_of(lost.stored_id), exc,
            extra={"job_id": job_id_of(lost.stored_id), "queue": queue},
        )  # fmt: skip
        return
    in_flight.run_callback(functools.partial(on_lost, job))


class _Account:
    """What the calls of one recovery have told.

    Args:
        dead: the member that is recovered.
    """

    def __init__(self, dead: str) -> None:
        self.dead = dead
        self._info: Mapping[str, str] = {}
        self._ready = self._retrying = self._failed = self._cancelled = 0

    @property
    def jobs(self) -> int:
        """How many were taken back."""
        return self._ready + self._retrying + self._failed + self._cancelled

    def add(self, reply: RecoverReply) -> None:
        """Count what one call did."""
        self._info = reply.info or self._info
        self._ready += reply.ready
        self._retrying += reply.retrying
        self._failed += len(reply.lost)
        self._cancelled += reply.cancelled

    def tell(self, queue: str) -> None:
        """Log it; a warning if jobs were under way, since those were interrupted."""
        host, pid = self._info.get("host", "unknown"), self._info.get("pid", "unknown")
        extra = {
            "queue": queue,
            "lost_host": host,
            "lost_pid": pid,
            "jobs_ready": self._ready,
            "jobs_retrying": self._retrying,
            "jobs_failed": self._failed,
            "jobs_cancelled": self._cancelled,
        }
        if not self.jobs:
            WORKER_LOGGER.info(
                "Worker process lost without jobs: host %s, pid %s, queue %s",
                host, pid, queue, extra=extra,
            )  # fmt: skip
            return
        WORKER_LOGGER.warning(
            "Worker process lost: host %s, pid %s, queue %s. Its jobs: %d (%d ready again, "
            "%d to be retried, %d in the failed store, %d cancelled)",
            host, pid, queue, self.jobs, self._ready, self._retrying, self._failed,
            self._cancelled, extra=extra,
        )  # fmt: skip


class Housekeeping:
    """Housekeeping of the queues that a process is a member of; used by the arbiter.

    Args:
        broker: bound to the engine.
        in_flight: runs what tells of lost jobs.
        on_lost: called in a worker thread for each job that failed without an outcome.
    """

    def __init__(
        self,
        broker: HousekeepingRole,
        in_flight: InFlight,
        on_lost: Callable[[Job], None],
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._in_flight = in_flight
        self._on_lost = on_lost
        # Queue → what was told of a recovery that takes several calls.
        self._accounts: dict[str, _Account] = {}

    def recover(self, member: Membership) -> None:
        """Take back the jobs of the dead member that was named, as far as one call goes (I11)."""
        dead = member.dead[0]
        reply = self._broker.recover(member.queue, dead)
        if reply.verdict is Verdict.UNKNOWN:
            member.keeping.failed("recover", reply.error, self._clock.monotonic())
            return
        member.keeping.answered("recover")
        if not reply.more:
            # Nothing, if a fetch has named another one meanwhile.
            with suppress(ValueError):
                member.dead.remove(dead)
        self._account_for(member.queue, dead, reply)
        for lost in reply.lost:
            tell_lost(self._in_flight, self._on_lost, self._broker.namespace, member.queue, lost)

    def _account_for(self, queue: str, dead: str, reply: RecoverReply) -> None:
        """Add up what the calls of a recovery tell, and log it once at the end."""
        account = self._accounts.pop(queue, None)
        if account is not None and account.dead != dead:
            # Its recovery was left half-way, for that of another member.
            account.tell(queue)
            account = None
        account = account or _Account(dead)
        account.add(reply)
        if reply.more:
            self._accounts[queue] = account
        elif reply.verdict is Verdict.APPLIED or account.jobs:
            # REFUSED at once: another process recovered it, or it lives.
            account.tell(queue)

    def tick(self, member: Membership) -> None:
        """Make due jobs ready and fire due periodic tasks."""
        # Read once: the subscriber replaces it when tasks come and go.
        schedule = member.schedule
        reply = self._broker.tick(member.queue, tuple(schedule))
        if reply.verdict is Verdict.UNKNOWN:
            member.keeping.failed("tick", reply.error, self._clock.monotonic())
            return
        member.keeping.answered("tick")
        next_at = self._after_ms(reply.next_due_in_ms)
        member.periodic_at = self._after_ms(reply.next_periodic_in_ms)
        keeps_time = member.tick_at is not None
        if member.note():
            # A fetch was answered meanwhile; which is newer is not known.
            instants = [at for at in (member.tick_at, next_at) if at is not None]
            member.tick_at = min(instants, default=None)
        elif keeps_time:
            member.tick_at = next_at
        for due in reply.due:
            # A beat that is due goes first. What is left for later the next tick names again.
            if self._clock.monotonic() >= member.beat_at:
                member.periodic_at = self._clock.monotonic()
                return
            if not self._fire(member, due, schedule[due.task]):
                member.periodic_at = self._clock.monotonic() + member.fire_backoff.failed()
                return
        member.fire_backoff.succeeded()

    def _fire(self, member: Membership, due: PeriodicDue, task: Task[..., object]) -> bool:
        """Enqueue one tick of a task, unless another process did (I15); False: no answer."""
        # No name has `|`, so no two ticks make the same text.
        name = f"{self._broker.namespace}|{member.queue}|{due.task}|{due.due_ms}"
        stored_id = ids.stored_id(str(uuid.uuid5(_TICK_IDS, name)), task.max_retries)
        payload = complete_payload(
            encode_arguments((), {}, task=task.name),
            due.due_ms,
            limit_bytes=DEFAULT_MAX_PAYLOAD_BYTES,  # It has a few bytes.
            task=task.name,
            options=task.options,
        )
        deposit = Deposit(member.queue, stored_id, task.header + payload)
        reply = self._broker.fire(member.queue, due.task, due.due_ms, deposit)
        if reply.verdict is Verdict.UNKNOWN:
            if not member.fire_backoff.failing:
                WORKER_LOGGER.warning(
                    "Periodic task %s cannot be scheduled, retrying: %s", due.task, reply.error,
                    extra={"task": due.task, "queue": member.queue},
                )  # fmt: skip
            return False
        if reply.verdict is Verdict.APPLIED:
            WORKER_LOGGER.debug(
                "Periodic task %s scheduled, due since %s", due.task, from_ms(due.due_ms)
            )
        next_at = self._after_ms(reply.next_due_in_ms)
        if next_at is not None and (member.periodic_at is None or next_at < member.periodic_at):
            member.periodic_at = next_at
        return True

    def _after_ms(self, milliseconds: float | None) -> float | None:
        if milliseconds is None:
            return None
        return self._clock.monotonic() + max(0, milliseconds) / 1000
