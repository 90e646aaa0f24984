"""A worker process that dies while it runs a job, simulated by a membership of its own.

To a store a worker process is a member of a queue. So the test joins the queue under a second
name, through the broker that it has, and never beats again.
"""

from __future__ import annotations

import contextvars
import uuid
from typing import TYPE_CHECKING

from spinach import Job, signals
from spinach.brokers.calls import FetchTurn, Verdict
from spinach.const import MAX_FETCH_BYTES
from spinach.exc import BrokerError, InvalidArgument
from spinach.job import JobStatus
from spinach.outcome import Outcome, OutcomeKind
from spinach.support.checks import refuse_unfinished
from spinach.support.forks import EngineThread, leave_child
from spinach.worker.declaration import declare

from . import listing
from .errors import DrainTimeout
from .threads import join

if TYPE_CHECKING:
    from spinach.brokers.calls import FetchReply, TurnReply
    from spinach.outcome import Lease

    from .ledger import Entry
    from .recording import Recording

__all__ = ["Crash"]

#: Idle threads that the dying process claims to have, so that it is given every ready job.
_THREADS = 1000


class Crash:
    """A worker process that takes one job and dies.

    Args:
        recording: of the engine whose job it is.
        job: to take.
        timeout: real seconds for the job's function.

    Raises:
        InvalidArgument: no job, or not one of this engine.
        UnknownTask: its task is not attached.
    """

    def __init__(self, recording: Recording, job: Job, timeout: float) -> None:
        self._recording = recording
        self._broker = recording.broker
        self._job = job
        self._timeout = timeout
        self._number = 0
        #: Its name in the job's queue.
        self.member = f"crashed-{uuid.uuid4().hex}"
        if not isinstance(job, Job):
            raise InvalidArgument(
                f"Cannot crash over {job!r}, expected a job. Pass what schedule() returned."
            )
        entry = recording.ledger.find(job)
        if entry is None:
            raise InvalidArgument(
                f"Cannot crash over {job!r}: this test's engine did not schedule it."
            )
        #: What is known of the job.
        self.entry: Entry = entry
        # Before the job is leased, so that an unknown task is refused in time.
        self._task = recording.engine._task_table.resolve(job.task_name)  # noqa: SLF001 - both are Spinach's own

    def take(self) -> None:
        """Join the queue, lease the job, and give back the jobs before it.

        Raises:
            InvalidArgument: it is not ready, or the limit of its task holds it back, or it has
                expired.
        """
        expires_ms, now_ms = self.entry.expires_ms, self._recording.now_ms
        queued = self.entry.status is JobStatus.QUEUED
        if queued and expires_ms is not None and expires_ms <= now_ms:
            raise InvalidArgument(
                "Cannot crash over a job that has expired, since no worker starts it: "
                f"{listing.line(self.entry, now_ms)}. Turn the clock less far before."
            )
        queue = self._job.queue
        declaration = declare(
            self._recording.engine._task_table.by_name,  # noqa: SLF001 - as a pool declares them
            [queue],
            lease_ms=int(self._broker.lease.total_seconds() * 1000),
            info={"host": "crashes in a test"},
        )
        _check(self._broker.join(queue, self.member, declaration.enrolments[queue]))
        _check(self._broker.tick(queue, ()))
        taken: list[Lease] = []
        mine: list[Lease] = []
        more = True
        while not mine and more:
            reply = self._fetch()
            taken += reply.leases
            mine = [lease for lease in reply.leases if lease.stored_id == self.entry.stored_id]
            # A fetch may bring none, and have only moved jobs of a limited task to their lane.
            more = bool(reply.leases) or reply.more
        held_back = not mine and self._no_room()
        self._give_back([lease for lease in taken if lease not in mine])
        if not mine:
            self._number += 1
            self._broker.leave(FetchTurn(queue, self.member, self._number))
            raise self._not_ready(held_back=held_back)
        # From here on it is dead, also if the job's function hangs and the call times out.
        self._recording.crashed[self.member] = queue
        self._recording.failures.order_loss(self._job)

    def run(self) -> None:
        """Call the job's function on a thread of its own, and report nothing.

        Raises:
            DrainTimeout: it does not end.
        """
        engine, task = self._recording.engine, self._task
        args, kwargs = self.entry.arguments
        job = self.entry.job()
        name = f"{engine.namespace}-worker-crashed"
        # Signals that show the attempt to a test, and let receivers release what belongs to the
        # thread, as the end of a process would.
        namespace = engine.namespace

        def body() -> None:
            signals.worker_started.send(namespace, worker_name=name)
            signals.job_started.send(namespace, job=job)
            try:
                result = task.func(*args, **kwargs)
                leave_child()
                refusal = refuse_unfinished(task.func, result)
                if refusal is not None:
                    self._recording.failures.raised(job, refusal, final=True)
            except BaseException as exc:  # noqa: BLE001 - raised in the test
                leave_child(exc)
                final = job.retries >= job.max_retries
                self._recording.failures.raised(job, exc, final=final)
            finally:
                self._recording.running.end()
                signals.worker_terminated.send(namespace, worker_name=name)

        thread = EngineThread(
            target=contextvars.Context().run, args=(body,), name=name, daemon=True
        )
        thread.start()
        if join([thread], self._timeout):
            raise DrainTimeout(
                f"The job to crash over was not done after {self._timeout} s. Running:\n"
                f"{self._recording.running.report()}"
            )

    def _no_room(self) -> bool:
        """Whether other jobs of its task, those just taken included, use up the task's limit."""
        limit = self._task.max_concurrency
        if limit is None or self.entry.status is not JobStatus.QUEUED:
            return False
        name, entries = self._job.task_name, self._recording.ledger.entries()
        running = [each for each in entries if each.status is JobStatus.RUNNING]
        return sum(each.task == name for each in running) >= limit

    def _not_ready(self, *, held_back: bool) -> InvalidArgument:
        line = listing.line(self.entry, self._recording.now_ms)
        if held_back:
            return InvalidArgument(
                f"Cannot crash over a job that is held back by the limit of its task, "
                f"max_concurrency={self._task.max_concurrency}: {line}. Jobs of the task that come "
                "before it take all the room. Crash over the first of them, or run them before you "
                "schedule this one."
            )
        if self.entry.status is JobStatus.QUEUED:
            return InvalidArgument(
                f"Cannot crash over a job that its queue does not hand out: {line}. It was put "
                "aside as long as no worker knew its task, or another process has it or took it "
                "away. Drain the queue, or schedule another job."
            )
        return InvalidArgument(
            f"Cannot crash over a job that is not ready: {line}. "
            "Turn the clock until it is due, and do not drain before."
        )

    def _fetch(self) -> FetchReply:
        self._number += 1
        turn = FetchTurn(self._job.queue, self.member, self._number)
        [reply] = self._broker.fetch([turn], idle=_THREADS, extra=0, max_bytes=MAX_FETCH_BYTES)
        _check(reply)
        return reply

    def _give_back(self, leases: list[Lease]) -> None:
        if not leases:
            return
        tasks = {each.stored_id: each.task for each in self._recording.ledger.entries()}
        reply = self._broker.report(
            [
                Outcome(OutcomeKind.RELEASE, lease, tasks.get(lease.stored_id, ""))
                for lease in leases
            ]
        )
        if reply.error is not None:
            raise reply.error


def _check(reply: TurnReply) -> None:
    if reply.verdict is Verdict.UNKNOWN and reply.error is not None:
        raise reply.error
    if reply.verdict is not Verdict.APPLIED:
        raise BrokerError(f"The broker answered {reply.verdict.value!r} to a process that is new.")
