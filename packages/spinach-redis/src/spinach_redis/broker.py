"""The broker contract on a Redis or Valkey server.

What is decided on the server is in the scripts; here requests become calls, and
answers become replies.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from msgspec import structs
from redis.exceptions import RedisError

from spinach.brokers.base import Broker
from spinach.brokers.calls import (
    BeatReply,
    FailedFilter,
    FetchReply,
    FireReply,
    JoinReply,
    PurgeReply,
    QueueCounts,
    QueueMembers,
    QueueSurvey,
    ReconcileReply,
    RecoverReply,
    ReportReply,
    TickReply,
    TurnReply,
    Verdict,
)
from spinach.const import DEFAULT_LEASE, DEFAULT_MAX_PAYLOAD_BYTES
from spinach.exc import BrokerError, InvalidArgument
from spinach.retention import DEFAULT_RETENTION
from spinach.support.checks import require_int, require_timedelta
from spinach_redis import replies, requests
from spinach_redis.conversion import EARLIER, convert
from spinach_redis.counting import Count
from spinach_redis.eventloop import running_loop, warn_of_event_loop
from spinach_redis.failed import FailedJobs
from spinach_redis.fetching import Fetch
from spinach_redis.jobs import Jobs
from spinach_redis.keys import QueueKeys, queues_key
from spinach_redis.members import MEMBERS_TRIES, KnownMembers, restless
from spinach_redis.operating import Operating
from spinach_redis.process import PerProcess, ProcessState
from spinach_redis.producer import version_error
from spinach_redis.results import JobEnds
from spinach_redis.server.examine import examine
from spinach_redis.server.older_jobs import warn_of_jobs
from spinach_redis.topology.user_settings import URLS, settings_of
from spinach_redis.transport.command import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from redis import Redis
    from redis.cluster import RedisCluster

    from spinach.brokers.calls import (
        BeatProgress,
        CancelReply,
        Cursor,
        Deposit,
        Enrolment,
        FailedJob,
        FailedPortion,
        FetchTurn,
        FoundJob,
        FoundPage,
        JobEnd,
        LimitState,
        PeriodicState,
        Place,
        PortionReply,
        Turn,
    )
    from spinach.brokers.operating import Purgeable
    from spinach.clock import Clock
    from spinach.outcome import Outcome
    from spinach.record.ids import StoredId
    from spinach.retention import FailedRetention

__all__ = ["RedisBroker", "TurnedClock"]

#: As many replicas as a server could have by far.
MOST_REPLICAS: Final = 100

#: How long a client waits for a server that is away.
DEFAULT_CLIENT_TIMEOUT: Final = timedelta(seconds=5)

#: A wait that most networks and servers are good for.
SHORTEST_CLIENT_TIMEOUT: Final = timedelta(milliseconds=100)


@runtime_checkable
class TurnedClock(Protocol):
    """A clock that differs from the machine's, as that of spinach-testing does."""

    def offset_ms(self) -> int:
        """What to add to the server's time to get this clock's, in ms."""
        ...


class RedisBroker(Broker):
    """Keeps jobs on Redis (6.2 or newer) or Valkey (7.2 or newer).

    A server should keep what it is told (`appendonly yes`) and evict nothing
    (`maxmemory-policy noeviction`). On a Cluster each queue lives on one node.

    Args:
        redis: says how to reach the server: a `redis.Redis`, also one that
            `Sentinel.master_for` made, or a `redis.cluster.RedisCluster`. Only its
            settings are used: the broker has connections and timeouts of its own.
            None is a server on this machine.
        clock: what the engine takes for time; the server has its own. A clock that was
            turned says by how much: see `TurnedClock`.
        lease: how long a worker process owns its jobs without proof of life, at least
            ten seconds.
        max_payload_bytes: limit of a job's encoded arguments.
        wait_replicas: how many replicas must have a job before `enqueue` returns, and
            the lease of a job that runs at most once before it starts, so that a
            failover forgets neither. While fewer can be reached, scheduling raises
            `ScheduleUncertain` after `client_timeout`, and jobs that run at most once wait,
            together with what is behind them in their queue.
        client_timeout: how long one call of a client may take, at least 100 ms: scheduling
            jobs, or a call about failed ones. That is all of it: connecting, waiting for
            answers, pauses, further tries. Only resolving the host's name is left out, since it
            cannot be bounded, and an answer that has begun is read as long as more of it
            comes. A batch of more than 500 jobs of a queue, more than 1 MiB or
            several queues is done in parts, and so is a long list; the time is counted anew
            from each part that is done. Where nothing listens at the only server there is,
            the call ends after a fifth of the time, and a second at most. What workers call
            has limits of its own.
        url: of the server, in the place of a client: redis://, rediss:// or unix://, with
            options as redis-py reads them.
        failed_retention: what the failed store of a queue keeps. The worker process that joined
            the queue last says so, by its broker, to all others.
        _offset_ms: for tests: in the place of the clock's.

    Raises:
        InvalidArgument: see `spinach.brokers.base.Broker`; a client that is none, or
            whose settings cannot be used; a URL that cannot be used; a client and a URL;
            a negative number of replicas; a `client_timeout` below 100 ms.
    """

    def __init__(
        self,
        redis: Redis | RedisCluster | None = None,
        *,
        clock: Clock | None = None,
        lease: timedelta = DEFAULT_LEASE,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        wait_replicas: int = 0,
        client_timeout: timedelta = DEFAULT_CLIENT_TIMEOUT,
        url: str | None = None,
        failed_retention: FailedRetention = DEFAULT_RETENTION,
        _offset_ms: Callable[[], int] | None = None,
    ) -> None:
        settings = settings_of(redis, url)
        super().__init__(
            clock=clock,
            lease=lease,
            max_payload_bytes=max_payload_bytes,
            failed_retention=failed_retention,
        )
        self.wait_replicas = require_int(wait_replicas, "wait_replicas", 0, MOST_REPLICAS)
        self.client_timeout = require_timedelta(
            client_timeout, "client_timeout", SHORTEST_CLIENT_TIMEOUT
        )
        self._client_seconds = self.client_timeout.total_seconds()
        if _offset_ms is None and isinstance(clock, TurnedClock):
            _offset_ms = clock.offset_ms
        self._offset_ms = _offset_ms
        self._per_process = PerProcess(
            lambda: ProcessState(
                settings, self._offset, self._keys_of, self.wait_replicas, self._client_seconds
            )
        )
        # Written without a lock: entries do not change, and two threads write the same.
        self._keys: dict[str, QueueKeys] = {}
        self._members = KnownMembers()
        # Queues of which it is known whether the older spinach has jobs there.
        self._looked_at: set[str] = set()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        clock: Clock | None = None,
        lease: timedelta = DEFAULT_LEASE,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        wait_replicas: int = 0,
        client_timeout: timedelta = DEFAULT_CLIENT_TIMEOUT,
        failed_retention: FailedRetention = DEFAULT_RETENTION,
        _offset_ms: Callable[[], int] | None = None,
    ) -> RedisBroker:
        """A broker for a server that a URL names.

        A URL names one server. For Sentinels or a Cluster pass a client to the class:
        `RedisBroker(Sentinel([...]).master_for(...))`, `RedisBroker(RedisCluster(...))`.

        Args:
            url: redis://, rediss:// or unix://, with options as redis-py reads them.
            clock: as for the class.
            lease: as for the class.
            max_payload_bytes: as for the class.
            wait_replicas: as for the class.
            client_timeout: as for the class.
            failed_retention: as for the class.
            _offset_ms: as for the class.

        Raises:
            InvalidArgument: a URL that cannot be used, or as for the class.
        """
        if url is None:
            # The class would take a server on this machine.
            raise InvalidArgument(f"The Redis URL is None, {URLS}.")
        return cls(
            url=url,
            clock=clock,
            lease=lease,
            max_payload_bytes=max_payload_bytes,
            wait_replicas=wait_replicas,
            client_timeout=client_timeout,
            failed_retention=failed_retention,
            _offset_ms=_offset_ms,
        )

    # -- producers ---------------------------------------------------------

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """See `Broker`; tries for `client_timeout`. Atomic for 500 jobs of a queue or 1 MiB."""
        # Asked here and not in a function: it is on the way of every job.
        if running_loop() is not None:
            warn_of_event_loop("A job was scheduled", "schedule, task", self._client_seconds)
        return self._process.producer.enqueue(self.namespace, deposits)

    # -- memberships -------------------------------------------------------

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        """See `Broker`. The first join on a server also checks its version, and the first one
        of a queue whether the older spinach left jobs there."""
        process = self._process
        names = self._keys_of(queue)
        if self._examine(names.marker):
            self._look_for_older_jobs(queue)
        # Most joins need none of their keys.
        members: tuple[str, ...] = ()
        for _ in range(MEMBERS_TRIES):
            call = requests.join(
                names, self._offset(), member, enrolment, members, retention=self.failed_retention
            )
            [answer] = process.client.ask(call)
            if answer.error is not None:
                return JoinReply(verdict=Verdict.UNKNOWN, error=answer.error)
            reply = answer.reply
            if reply[0] == b"VERSION":
                if reply[1] not in EARLIER:
                    raise version_error(queue, reply[1])
                error = convert(process.client, names, self._offset(), queue)
                if error is not None:
                    return JoinReply(verdict=Verdict.UNKNOWN, error=error)
            elif reply[0] == b"KEYS":
                self._members.named(queue, reply[1])
                members = self._members.of(queue)
            else:
                self._list_queue(queue)
                return replies.join_reply(reply)
        return JoinReply(verdict=Verdict.UNKNOWN, error=restless(queue))

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        """See `Broker`; one script over all queues, on a Cluster one a queue."""
        return Fetch(
            self._process,
            self._keys_of,
            self._offset(),
            idle=idle,
            extra=extra,
            max_bytes=max_bytes,
        ).run(turns, block_seconds)

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        """See `Broker`; one script a queue, all in one round trip."""
        calls = []
        for turn in turns:
            told = [each for each in progress if each.queue == turn.queue] if progress else ()
            calls.append(requests.beat(self._keys_of(turn.queue), self._offset(), turn, told))
        answers = self._process.client.ask(*calls)
        return [
            BeatReply(verdict=Verdict.UNKNOWN, error=answer.error)
            if answer.cause is not None
            else replies.beat_reply(answer.reply)
            for answer in answers
        ]

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        """See `Broker`."""
        call = requests.reconcile(self._keys_of(turn.queue), self._offset(), turn, held)
        [answer] = self._process.client.ask(call, confirmed=True)
        if answer.error is not None:
            return ReconcileReply(verdict=Verdict.UNKNOWN, error=answer.error)
        reply = replies.reconcile_reply(turn, answer.reply)
        if answer.doubt is not None and replies.may_not_start(reply.missing):
            # They come once replicas know of them.
            safe = tuple(lease for lease in reply.missing if lease.repeatable)
            return structs.replace(reply, missing=safe, more=True, error=answer.doubt)
        return reply

    def leave(self, turn: Turn) -> TurnReply:
        """See `Broker`."""
        call = requests.leave(self._keys_of(turn.queue), self._offset(), turn)
        [answer] = self._process.client.ask(call)
        if answer.error is not None:
            return TurnReply(verdict=Verdict.UNKNOWN, error=answer.error)
        return replies.turn_reply(answer.reply)

    def interrupt(self) -> None:
        """See `Broker`. Where the server refuses CLIENT UNBLOCK a wait ends by itself."""
        self._process.waiting.interrupt()

    # -- outcomes ----------------------------------------------------------

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        """See `Broker`; atomic for 1000 outcomes of a queue or 1 MiB of reasons."""
        chunks = list(requests.report_chunks(outcomes))
        calls = []
        for chunk in chunks:
            names = self._keys_of(outcomes[chunk[0]].lease.queue)
            calls.append(
                requests.report(names, self._offset(), [outcomes[position] for position in chunk])
            )
        once = self.wait_replicas > 0 and (
            replies.may_not_start([o.lease for o in outcomes])
            or any(o.keep_ms is not None for o in outcomes)
        )
        verdicts = [Verdict.UNKNOWN] * len(outcomes)
        cancelled: list[int] = []
        error: BrokerError | None = None
        answers = self._process.client.ask(*calls, confirmed=once)
        for chunk, answer in zip(chunks, answers, strict=True):
            # A replica that takes over with the lease and without its outcome would have this
            # process reconcile, and run the job once more (I3).
            problem = answer.error or answer.doubt
            if problem is not None:
                error = problem
                continue
            for position, verdict in zip(chunk, replies.report_verdicts(answer.reply), strict=True):
                verdicts[position] = verdict
            cancelled += [chunk[place] for place in replies.report_cancelled(answer.reply)]
        return ReportReply(verdicts=tuple(verdicts), error=error, cancelled=tuple(cancelled))

    # -- housekeeping ------------------------------------------------------

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        """See `Broker`."""
        call = requests.tick(self._keys_of(queue), self._offset(), periodic)
        [answer] = self._process.client.ask(call)
        if answer.error is not None:
            return TickReply(verdict=Verdict.UNKNOWN, error=answer.error)
        return replies.tick_reply(answer.reply)

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        """See `Broker`."""
        call = requests.fire(self._keys_of(queue), self._offset(), task, due_ms, deposit)
        [answer] = self._process.client.ask(call)
        if answer.error is not None:
            return FireReply(verdict=Verdict.UNKNOWN, error=answer.error)
        return replies.fire_reply(answer.reply)

    def recover(self, queue: str, dead: str) -> RecoverReply:
        """See `Broker`; a hundred leases a call."""
        call = requests.recover(self._keys_of(queue), self._offset(), dead)
        [answer] = self._process.client.ask(call)
        if answer.error is not None:
            return RecoverReply(verdict=Verdict.UNKNOWN, error=answer.error)
        return replies.recover_reply(answer.reply)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """See `Broker`; one snapshot of all queues, on a Cluster one of each."""
        return Count(self._process, self._keys_of, self._members, self._offset()).of(queues)

    def queues(self) -> list[str]:
        """See `Broker`."""
        self._warn_in_loop()
        queues = queues_key(self.namespace)
        call = Command(b"SMEMBERS", queues, key=queues)
        listed = self._process.client.call(call, repeatable=True)
        return replies.names(listed)

    # -- operating ---------------------------------------------------------

    def survey(self, queue: str) -> QueueSurvey:
        """See `Broker`."""
        return self._operating(queue).survey()

    def set_paused(self, queue: str, *, paused: bool) -> bool:
        """See `Broker`."""
        changed = self._operating(queue).set_paused(paused=paused)
        self._list_queue(queue)
        return changed

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        """See `Broker`. Not repeated where an answer was lost: the error says so."""
        return self._operating(queue).purge(status, limit)

    def members(self, queue: str) -> QueueMembers:
        """See `Broker`; ten members a call."""
        return self._operating(queue).members()

    def set_limit(self, queue: str, task: str, limit: int | None) -> None:
        """See `Broker`."""
        self._operating(queue).set_limit(task, limit)

    def limits(self, queue: str) -> list[LimitState]:
        """See `Broker`."""
        return self._operating(queue).limits()

    def periodic_tasks(self, queue: str) -> list[PeriodicState]:
        """See `Broker`."""
        return self._operating(queue).periodic_tasks()

    def set_periodic_paused(self, queue: str, task: str, *, paused: bool) -> bool | None:
        """See `Broker`."""
        return self._operating(queue).set_periodic_paused(task, paused=paused)

    def _operating(self, queue: str) -> Operating:
        if running_loop() is not None:
            warn_of_event_loop("A queue was looked at", "queues.list", self._client_seconds)
        return Operating(self._process.client, self._keys_of(queue), self._offset(), queue)

    # -- jobs --------------------------------------------------------------

    def find_jobs(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FoundJob]:
        """See `Broker`; one script a queue, all in one round trip, and more where jobs are many."""
        return self._jobs().find(queues, stored_ids)

    def list_jobs(
        self,
        queue: str,
        *,
        places: Collection[Place] = (),
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> FoundPage:
        """See `Broker`; looks at 500 jobs at most, and brings 1 MiB of records at most."""
        return self._jobs().page(queue, places=places, task=task, cursor=cursor, limit=limit)

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        """See `Broker`; atomic for 200 jobs or 1 MiB of records, or 20 where members are many."""
        return self._jobs().cancel(queue, stored_ids)

    def _jobs(self) -> Jobs:
        if running_loop() is not None:
            warn_of_event_loop("A job was looked for", "jobs.get", self._client_seconds)
        return Jobs(self._process.client, self._keys_of, self._members, self._offset())

    # -- failed store ------------------------------------------------------

    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        """See `Broker`."""
        return self._failed(queue).page(max(0, offset), limit, after, matching or FailedFilter())

    def find_failed(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FailedJob]:
        """See `Broker`; one script a queue, all in one round trip."""
        self._warn_in_loop()
        calls = [
            requests.failed_find(self._keys_of(queue), self._offset(), stored_ids)
            for queue in queues
        ]
        answered = self._process.client.call_all(calls)
        return [job for reply in answered for job in replies.failed_jobs(reply)]

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """See `Broker`; to the end of the queue. Atomic for 500 jobs."""
        return self._failed(queue).take_out(stored_ids, run=True)

    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """See `Broker`; atomic for 500 jobs."""
        return self._failed(queue).take_out(stored_ids, run=False)

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        """See `Broker`; a lost answer is asked for again, and counts what was taken."""
        return self._failed(queue).take_portion(portion, run=True)

    def discard_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        """See `Broker`, and `retry_matching`."""
        return self._failed(queue).take_portion(portion, run=False)

    def _failed(self, queue: str) -> FailedJobs:
        self._warn_in_loop()
        return FailedJobs(self._process.client, self._keys_of(queue), self._offset())

    def _warn_in_loop(self) -> None:
        if running_loop() is not None:
            warn_of_event_loop("The failed store was asked", "failed.list", self._client_seconds)

    # -- results -----------------------------------------------------------

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        """See `Broker`; 500 jobs a call, and about 1 MiB of results."""
        return self._ends(queue).look(stored_ids)

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        """See `Broker`; real seconds. It looks at the job, and then waits on the server."""
        return self._ends(queue).wait(stored_id, wait_seconds)

    def _ends(self, queue: str) -> JobEnds:
        if running_loop() is not None:
            warn_of_event_loop("A result was asked for", "result, job", self._client_seconds)
        return JobEnds(self._process.client, self._keys_of(queue), self._offset())

    # -- life --------------------------------------------------------------

    def close(self) -> None:
        """See `Broker`. A call in progress keeps its connection."""
        self._process.close()

    # -- helpers -----------------------------------------------------------

    @property
    def _process(self) -> ProcessState:
        return self._per_process.current()

    def _keys_of(self, queue: str) -> QueueKeys:
        names = self._keys.get(queue)
        if names is None:
            names = self._keys[queue] = QueueKeys(self.namespace, queue)
        return names

    def _offset(self) -> str:
        return "0" if self._offset_ms is None else str(self._offset_ms())

    def _examine(self, key: bytes) -> bool:
        """Look at the node that serves a key, once; whether it answered."""
        process = self._process
        try:
            node = process.client.topology.node_of(key)
        except (RedisError, OSError):
            return False  # The join will meet it, and say so.
        if not node.examined:
            node.examined = examine(process.client, node)
        return node.examined

    def _look_for_older_jobs(self, queue: str) -> None:
        """Warn once of what the older spinach has in a queue; it worked on no Cluster."""
        process = self._process
        if queue in self._looked_at or process.client.topology.only is None:
            return
        first = not self._looked_at
        if warn_of_jobs(process.client, self.namespace, queue, all_of_it=first):
            self._looked_at.add(queue)

    def _list_queue(self, queue: str) -> None:
        """Put a queue on the list of queues; a full server may refuse, the next one tries.

        Each join does, as one follows where the server forgot members, and the list with them.
        """
        process = self._process
        queues = queues_key(self.namespace)
        answers = process.client.probe(Command(b"SADD", queues, queue, key=queues))
        if answers and answers[0].cause is None:
            process.producer.registered([queue])
