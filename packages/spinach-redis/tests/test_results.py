"""Results on a server: waits that cost little, on a full server, through outages and signals."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from msgspec import structs
from redis import Redis

from spinach import Engine, Tasks
from spinach.brokers.calls import CancelVerdict, Deposit, Ending, JobEnd, Verdict
from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable
from spinach.outcome import Failure, Lease, Outcome, OutcomeKind
from spinach.record.ids import StoredId
from spinach.record.options import RecordOptions, with_options
from spinach_redis import RedisBroker, results
from spinach_redis.keys import QueueKeys

from .clusters import Cluster
from .jobs import QUEUE, TASK, Member, deposit
from .replicas import Replicated
from .servers import Server, until
from .wakeups import LONG_SECONDS, PROMPT_SECONDS, until_blocked

NewBroker = Callable[..., RedisBroker]

KEEP_MS = 3_600_000
PENDING = JobEnd(ending=Ending.PENDING)


def kept(lease: Lease, value: bytes = b"1", keep_ms: int = KEEP_MS) -> Outcome:
    return Outcome(OutcomeKind.SUCCEEDED, lease, TASK, keep_ms=keep_ms, result=value)


def returned(value: bytes = b"1") -> JobEnd:
    return JobEnd(ending=Ending.SUCCEEDED, result=value)


def kept_job() -> Deposit:
    """A job that runs at most once, and whose end is kept."""
    job = deposit(max_retries=0, payload=with_options(b"[[],{},0]", RecordOptions(keep_ms=KEEP_MS)))
    return structs.replace(job, record=job.record.replace(b"|-|", b"|r|", 1))


def running(member: Member, queue: str = QUEUE) -> Lease:
    """A job that the member runs."""
    member.broker.enqueue([deposit(queue)])
    [lease] = member.take()
    return lease


class Waiting:
    """A thread that waits for the end of a job."""

    def __init__(
        self, broker: RedisBroker, job: Lease | Deposit, seconds: float = LONG_SECONDS
    ) -> None:
        self._told: list[JobEnd | BaseException] = []

        def wait() -> None:
            try:
                self._told.append(broker.await_end(job.queue, job.stored_id, seconds))
            except BaseException as error:
                self._told.append(error)

        self._thread = threading.Thread(target=wait, daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> JobEnd:
        """What it was told, soon."""
        self._thread.join(PROMPT_SECONDS)
        assert self.over, "the wait did not end"
        [told] = self._told
        if isinstance(told, BaseException):
            raise told
        return told


@contextlib.contextmanager
def full(client: Redis) -> Iterator[None]:
    """A server that has no memory left."""
    client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


def commands(client: Redis) -> dict[str, int]:
    return {
        name.removeprefix("cmdstat_"): each["calls"]
        for name, each in client.info("commandstats").items()
    }


# -- what a wait costs --------------------------------------------------------------


def test_wait_is_one_script_and_one_command(own_server: Server, new_broker: NewBroker) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    lease = running(member)
    with own_server.client() as client:
        client.config_resetstat()
        waiting = Waiting(broker, lease)
        until_blocked(own_server)
        broker.report([kept(lease)])
        assert waiting.end() == returned()
        calls = commands(client)
    assert (calls["evalsha"], calls["blmove"]) == (2, 1)  # the wait's, and the report


def test_cancel_ends_the_wait_at_once(
    own_server: Server, new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would be found in the end: each wait on the server is a short one.
    monkeypatch.setattr(results, "WAIT_SECONDS", LONG_SECONDS)
    broker, jobs = new_broker(own_server.unix_url), [kept_job() for _ in range(45)]
    broker.enqueue(jobs)
    [gone] = broker.cancel_jobs(QUEUE, [jobs[40].stored_id])
    waiting = Waiting(broker, jobs[41])
    until_blocked(own_server)
    replies = broker.cancel_jobs(QUEUE, [job.stored_id for job in jobs])
    told = [reply.verdict for reply in replies]
    assert told == [CancelVerdict.CANCELLED] * 40 + [CancelVerdict.UNKNOWN] + (
        [CancelVerdict.CANCELLED] * 4
    )
    assert gone.verdict is CancelVerdict.CANCELLED
    assert waiting.end() == JobEnd(ending=Ending.CANCELLED)


def test_result_that_is_there_takes_one_round_trip(
    own_server: Server, new_broker: NewBroker
) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    leases = [running(member) for _ in range(3)]
    broker.report([kept(lease) for lease in leases])
    with own_server.client() as client:
        client.config_resetstat()
        assert broker.await_end(QUEUE, leases[0].stored_id, LONG_SECONDS) == returned()
        ids = [lease.stored_id for lease in leases]
        assert broker.job_ends(QUEUE, ids) == [returned()] * 3
        calls = commands(client)
    assert calls["evalsha"] == 2
    assert "blmove" not in calls


def test_outcomes_that_keep_nothing_declare_and_write_nothing_more(
    own_server: Server, new_broker: NewBroker
) -> None:
    from spinach_redis import keys, requests

    names = QueueKeys("n", QUEUE)
    lease = running(Member(new_broker(own_server.unix_url)))
    call = requests.report(names, "0", [Outcome(OutcomeKind.SUCCEEDED, lease, TASK)])
    assert len(call.keys) == len(keys.REPORT) + 1
    call = requests.report(names, "0", [kept(lease)])
    assert list(call.keys[len(keys.REPORT) + 1 :]) == [
        *names.fixed(keys.KEPT),
        names.result(lease.stored_id),
    ]


def test_thousand_waits_leave_nothing_but_results(
    own_server: Server, new_broker: NewBroker
) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    for _ in range(20):
        lease = running(member)
        assert broker.await_end(QUEUE, lease.stored_id, 0.005) == PENDING
        broker.report([kept(lease)])
    with own_server.client() as client:
        lists = client.keys("*:result:*")
        assert len(lists) == 20
        assert all(0 < client.pttl(each) <= 10_000 for each in lists)
        tag = f"{{{broker.namespace}/{QUEUE}}}:"
        assert client.zcard(f"{tag}awaited") == 0
        assert client.hlen(f"{tag}results") == client.zcard(f"{tag}results-until") == 20


def test_short_wait_cuts_off_no_longer_one(server: Server, new_broker: NewBroker) -> None:
    broker, other = new_broker(), new_broker()
    lease = running(Member(broker))

    def noted() -> float | None:
        with server.client() as client:
            awaited = f"{{{broker.namespace}/{QUEUE}}}:awaited"
            return client.zscore(awaited, lease.stored_id)

    waiting = Waiting(broker, lease)
    before = until(noted, "a note of the longer wait")
    assert other.await_end(QUEUE, lease.stored_id, 0.005) == PENDING
    assert noted() == before
    broker.report([kept(lease)])
    assert waiting.end() == returned()


@pytest.mark.parametrize("call", ["report", "beat", "wait"])
def test_what_is_over_is_dropped_by_the_calls_that_come(
    own_server: Server, new_broker: NewBroker, call: str
) -> None:
    now_ms = [0]
    broker = new_broker(own_server.unix_url, _offset_ms=lambda: now_ms[0])
    member = Member(broker)
    leases = [running(member) for _ in range(3)]
    broker.await_end(QUEUE, leases[2].stored_id, 0.005)
    broker.report([kept(lease, keep_ms=1000) for lease in leases[:2]])
    now_ms[0] += 20_000
    if call == "report":
        broker.report([kept(leases[2])])
    elif call == "beat":
        broker.beat([member.turn()])
    else:
        assert broker.await_end(QUEUE, leases[2].stored_id, 0.005) == PENDING
    left = 1 if call == "report" else 0
    with own_server.client() as client:
        tag = f"{{{broker.namespace}/{QUEUE}}}:"
        assert client.hlen(f"{tag}results") == client.zcard(f"{tag}results-until") == left
        assert client.zcard(f"{tag}awaited") == (1 if call == "wait" else 0)


# -- a server that is full ----------------------------------------------------------


def test_results_pass_and_are_waited_for_on_a_full_server(
    own_server: Server, new_broker: NewBroker
) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    lease, other = running(member), running(member)
    with own_server.client() as client, full(client):
        with pytest.raises(BrokerFull):
            broker.enqueue([deposit()])
        waiting = [Waiting(broker, lease) for _ in range(2)]
        until_blocked(own_server, count=2)
        assert broker.report([kept(lease, b'"full"'), kept(other)]).verdicts == (
            *(Verdict.APPLIED, Verdict.APPLIED),
        )
        assert [each.end() for each in waiting] == [returned(b'"full"')] * 2
        assert broker.await_end(QUEUE, other.stored_id, LONG_SECONDS) == returned()


def test_wait_that_began_before_the_server_was_full_ends_as_well(
    own_server: Server, new_broker: NewBroker
) -> None:
    broker = new_broker(own_server.unix_url)
    lease = running(Member(broker))
    waiting = [Waiting(broker, lease) for _ in range(3)]
    until_blocked(own_server, count=3)
    with own_server.client() as client, full(client):
        broker.report([kept(lease)])
        assert [each.end() for each in waiting] == [returned()] * 3


# -- outages ------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True])
def test_wait_goes_on_when_the_server_comes_back(
    own_server: Server, new_broker: NewBroker, kill: bool
) -> None:
    broker = new_broker(own_server.url)
    member = Member(broker)
    lease = running(member)
    waiting = Waiting(broker, lease)
    until_blocked(own_server)
    own_server.restart(kill=kill)
    until_blocked(own_server)
    # The notifier of an engine tries again, too.
    until(
        lambda: broker.report([kept(lease)]).verdicts == (Verdict.APPLIED,),
        "report", PROMPT_SECONDS,
    )  # fmt: skip
    assert waiting.end() == returned()


def test_result_outlives_the_server(own_server: Server, new_broker: NewBroker) -> None:
    broker = new_broker(own_server.url)
    lease = running(Member(broker))
    broker.report([kept(lease)])
    own_server.restart(kill=True)
    assert broker.await_end(QUEUE, lease.stored_id, LONG_SECONDS) == returned()


def test_wait_for_a_server_that_stays_away_ends_with_the_reason(
    own_server: Server, new_broker: NewBroker
) -> None:
    broker = new_broker(own_server.url, client_timeout=timedelta(seconds=1))
    lease = running(Member(broker))
    waiting = Waiting(broker, lease)
    until_blocked(own_server)
    own_server.stop(kill=True)
    with pytest.raises(BrokerUnavailable):
        waiting.end()


def test_job_that_ended_in_a_way_that_wakes_nobody_is_heard_of(
    own_server: Server, new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "WAIT_SECONDS", 0.2)
    broker = new_broker(own_server.unix_url)
    gone, told = running(Member(broker)), running(Member(broker))
    waits = [Waiting(broker, gone), Waiting(broker, told)]
    until_blocked(own_server, count=2)
    with own_server.client() as client:
        tag = f"{{{broker.namespace}/{QUEUE}}}:"
        client.hdel(f"{tag}jobs", gone.stored_id)
        # As recovery does, which does not know the names of lists.
        client.hset(f"{tag}results", told.stored_id, b"C")
        client.zadd(f"{tag}results-until", {told.stored_id: 2**50})
    assert waits[0].end() == JobEnd(ending=Ending.ABSENT)
    assert waits[1].end() == JobEnd(ending=Ending.CANCELLED)


def test_interrupted_wait_leaves_no_answer_for_the_next_call(
    own_server: Server, new_broker: NewBroker
) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    lease, other = running(member), running(member)
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                broker.await_end(QUEUE, lease.stored_id, LONG_SECONDS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    broker.report([kept(lease, b'"mine"'), kept(other, b'"other"')])
    assert broker.await_end(QUEUE, other.stored_id, LONG_SECONDS) == returned(b'"other"')
    assert broker.await_end(QUEUE, lease.stored_id, LONG_SECONDS) == returned(b'"mine"')


def test_waits_and_fetches_share_no_connection(own_server: Server, new_broker: NewBroker) -> None:
    """A fetch knows the id of its connection, by which its wait is ended."""
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    lease = running(member)
    assert broker.await_end(QUEUE, lease.stored_id, 0.01) == PENDING
    fetching = threading.Thread(target=lambda: member.fetch(block_seconds=LONG_SECONDS))
    fetching.start()
    until_blocked(own_server)
    broker.interrupt()
    fetching.join(PROMPT_SECONDS)
    assert not fetching.is_alive()


def test_user_that_may_not_wait_is_told(own_server: Server, new_broker: NewBroker) -> None:
    broker = new_broker(own_server.unix_url)
    lease = running(Member(broker))
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-blmove")
        with pytest.raises(BrokerError, match="Grant it the commands"):
            broker.await_end(QUEUE, lease.stored_id, LONG_SECONDS)
        client.execute_command("ACL", "SETUSER", "default", "+blmove")


# -- several servers ----------------------------------------------------------------


def test_results_of_a_cluster_come_from_each_node(cluster: Cluster, new_broker: NewBroker) -> None:
    broker = new_broker(cluster.client())
    queues = [f"q{n}" for n in range(6)]
    found = {}
    for queue in queues:
        member = Member(broker, queue)
        lease = running(member, queue)
        waiting = Waiting(broker, lease)
        assert broker.report([kept(lease, b'"%b"' % queue.encode())]).verdicts == (Verdict.APPLIED,)
        found[queue] = waiting.end().result
    assert found == {queue: b'"%b"' % queue.encode() for queue in queues}


def test_result_counts_as_reported_when_the_replica_has_it(
    replicated: Replicated, new_broker: NewBroker
) -> None:
    broker = new_broker(replicated.primary.url, wait_replicas=1)
    member = Member(broker)
    broker.enqueue([deposit(max_retries=3)])
    [lease] = member.take()
    for replica in replicated.replicas:
        replica.freeze()
    try:
        assert broker.report([kept(lease)]).verdicts == (Verdict.UNKNOWN,)
    finally:
        for replica in replicated.replicas:
            replica.thaw()
    # Told again, it does not count twice.
    assert broker.report([kept(lease, b'"again"')]).verdicts == (Verdict.REFUSED,)
    assert broker.await_end(QUEUE, lease.stored_id, LONG_SECONDS) == returned()


# -- with an engine -----------------------------------------------------------------


def test_failure_of_a_lost_worker_has_the_reason_of_the_failed_store(
    own_server: Server, new_broker: NewBroker
) -> None:
    now_ms = [0]
    broker = new_broker(own_server.unix_url, _offset_ms=lambda: now_ms[0])
    doomed, living = Member(broker), Member(broker)
    job = kept_job()
    broker.enqueue([job])
    doomed.take()
    for _ in range(6):
        now_ms[0] += 10_000
        dead = broker.beat([living.turn()])[0].dead
        if dead is not None:
            broker.recover(QUEUE, dead)
    [entry] = broker.failed_jobs(QUEUE)
    found = broker.await_end(QUEUE, job.stored_id, LONG_SECONDS)
    assert found == JobEnd(ending=Ending.FAILED, failure=entry.failure)
    assert isinstance(found.failure, Failure)


@pytest.mark.concurrency
def test_producers_get_their_own_results(server: Server) -> None:
    broker = RedisBroker.from_url(server.unix_url)
    spin = Engine(broker, namespace="results")
    tasks = Tasks(keep_result=timedelta(minutes=5))
    tasks.add(lambda n: n, name="same")
    spin.attach_tasks(tasks)
    spin.start_workers(3, block=False)
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        timeout = timedelta(seconds=30)
        jobs = [spin.schedule("same", 100 * number + n) for n in range(10)]
        single = [spin.result(job, timeout=timeout) for job in jobs[:5]]
        found[number] = [*single, *spin.results(jobs[5:], timeout=timeout)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        spin.stop_workers()
        broker.close()
    assert found == {k: [100 * k + n for n in range(10)] for k in range(5)}


def test_ids_are_those_of_the_store() -> None:
    names = QueueKeys("shop", "mail")
    assert names.result(StoredId("0abc")) == b"{shop/mail}:result:0abc"
