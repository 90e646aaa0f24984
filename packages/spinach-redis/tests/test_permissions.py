"""The rule that an operator gives allows all that the broker does, and nothing else."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from spinach.brokers.calls import CancelVerdict, Ending, FetchTurn, Place
from spinach.exc import BrokerError, InvalidName
from spinach.outcome import Failure, Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis.client import retry
from spinach_redis.scripts import SCRIPTS
from spinach_redis.server.permissions import acl_line, commands

from .jobs import QUEUE, TASK, Member, deposit, success
from .servers import Server
from .wakeups import blocked

NAMESPACE = "letters-app"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused to who was let in is told at once."""
    monkeypatch.setattr(retry, "LOCKOUT_SECONDS", 0.0)


def allow(client: Redis, rule: str, *without: str) -> None:
    """Set the user of a rule, with any password, to begin with no record of refusals."""
    client.execute_command("ACL", "SETUSER", *rule.split(), "nopass", *without)
    client.execute_command("ACL", "LOG", "RESET")


def refused(client: Redis) -> set[str]:
    """What the server refused to a user, the introduction of a connection apart."""
    return {
        entry["object"].decode() if isinstance(entry["object"], bytes) else entry["object"]
        for entry in client.acl_log()
    } - {"client|setinfo", "client"}


@contextlib.contextmanager
def interrupting(broker: RedisBroker, server: Server) -> Iterator[None]:
    """Ends the wait of the block once it has begun."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            if blocked(server):
                broker.interrupt()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def everything(broker: RedisBroker, server: Server) -> None:
    """Call all there is, in all variations that need commands of their own."""
    now_ms = [0]
    broker._offset_ms = lambda: now_ms[0]
    limited = {"limits": {TASK: 1}, "periodic": {TASK: 60_000}}
    member = Member(broker, **limited)
    with interrupting(broker, server):
        member.fetch(block_seconds=1.0)
    broker.enqueue([deposit(max_retries=r) for r in (0, 1, 2, 3, 3, 3, 3, 3)])
    broker.enqueue([deposit(due_ms=10**15), deposit(due_ms=2), deposit(due_ms=10**15)])
    # Sent again, as after a lost answer.
    [sessions] = broker._process.producer._idle
    sessions[QUEUE].number -= 1
    broker.enqueue([deposit()])
    for kind in (
        OutcomeKind.SUCCEEDED,
        OutcomeKind.FAILED,
        OutcomeKind.RETRY,
        OutcomeKind.RELEASE,
        OutcomeKind.PARK,
        OutcomeKind.EXPIRED,
        OutcomeKind.CANCELLED,
    ):
        [lease] = member.take(idle=3)
        broker.report(
            [Outcome(kind, lease, TASK, failure=Failure(error="E", message="m"), delay_ms=5)]
        )
    broker.counts([QUEUE])
    turn = member.turn()
    waiting = deposit(due_ms=10**15)
    broker.enqueue([waiting, *(ready := [deposit() for _ in range(4)])])
    broker.find_jobs([QUEUE], [waiting.stored_id, ready[2].stored_id])
    for place in Place:
        page = broker.list_jobs(QUEUE, places=[place], limit=1)
        broker.list_jobs(QUEUE, places=[place], limit=1, cursor=page.cursor)
    # Stored again after its cancel, and cancelled again below.
    broker.cancel_jobs(QUEUE, [ready[2].stored_id])
    broker.enqueue([ready[2]])
    doomed = [waiting.stored_id, *(job.stored_id for job in ready)]
    verdicts = {reply.verdict for reply in broker.cancel_jobs(QUEUE, doomed)}
    assert verdicts == {CancelVerdict.CANCELLED}
    [parked] = broker.fetch(
        [FetchTurn(turn.queue, turn.member, turn.number, (TASK,))],
        idle=1, extra=0, max_bytes=1000,
    )  # fmt: skip
    broker.report([success(lease) for lease in parked.leases])
    broker.reconcile(member.turn(), [("nothing", "d1")])
    [failed] = broker.failed_jobs(QUEUE)
    assert broker.retry_failed(QUEUE, [failed.stored_id]) == 1
    broker.discard_failed(QUEUE, ["nothing"])
    now_ms[0] += 60_000
    [due] = broker.tick(QUEUE, [TASK]).due
    broker.fire(QUEUE, TASK, due.due_ms, deposit())
    other = Member(broker)
    other.take(idle=9)
    for _ in range(6):
        now_ms[0] += 10_000
        dead = broker.beat([other.turn()])[0].dead
        if dead is not None:
            broker.recover(QUEUE, dead)
    broker.counts([QUEUE])
    results(broker, server, other)
    broker.leave(other.turn())
    for paused in (True, False):
        broker.set_paused(QUEUE, paused=paused)
        broker.set_periodic_paused(QUEUE, TASK, paused=paused)
    broker.survey(QUEUE)
    broker.members(QUEUE)
    broker.set_limit(QUEUE, "another", 1)
    broker.limits(QUEUE)
    broker.periodic_tasks(QUEUE)
    for status in ("queued", "waiting", "failed"):
        broker.purge(QUEUE, status, 100)
    assert broker.queues() == [QUEUE]


def results(broker: RedisBroker, server: Server, member: Member) -> None:
    """Wait for the end of a job, also while the server is full; then it is not kept any more."""
    job = deposit()
    broker.enqueue([job])
    with server.client() as client:
        try:
            for memory in ("0", "1"):
                client.config_set("maxmemory", memory)
                assert broker.await_end(QUEUE, job.stored_id, 0.01).ending is Ending.PENDING
        finally:
            client.config_set("maxmemory", "0")
    [lease] = [lease for lease in member.take(idle=20) if lease.stored_id == job.stored_id]
    outcome = Outcome(OutcomeKind.SUCCEEDED, lease, TASK, keep_ms=1, result=b"1")
    broker.report([outcome])
    broker._offset_ms = lambda: 10_000_000
    broker.beat([member.turn()])
    broker._offset_ms = lambda: 0


def test_line_allows_one_namespace_and_no_channel() -> None:
    line = acl_line("worker", NAMESPACE)
    assert line.startswith(
        "worker reset on ~{letters-app/*}:* ~{letters-app}:queues ~letters-app/* "
        "resetchannels -@all +"
    )
    assert "+evalsha" in line.split()
    assert "+@" not in line
    with pytest.raises(InvalidName):
        acl_line("worker", "any*")


def test_commands_of_a_cluster_replicas_and_databases_are_asked_for() -> None:
    few, all_ = commands(), commands(cluster=True, wait_replicas=True, database=True)
    assert set(all_) - set(few) == {"asking", "cluster|slots", "wait", "select"}


def test_every_command_in_the_scripts_is_read_off_them() -> None:
    """A name that is put together elsewhere would be missed."""
    for script in SCRIPTS:
        code = re.sub(r"--.*", "", script.text.decode())
        calls = len(re.findall(r"\b(?:call|many)\(", code))
        named = len(re.findall(r"\b(?:call|many)\('[A-Z]+'", code))
        # `many` itself is declared once and makes one call.
        assert calls == named + 2, script


@pytest.fixture
def scene(module_server: Server) -> Iterator[Callable[..., set[str]]]:
    """Does everything as a user with a rule; what was refused."""
    brokers: list[RedisBroker] = []

    def play(*without: str) -> set[str]:
        with module_server.client() as client:
            allow(client, acl_line("worker", NAMESPACE), *without)
            client.flushall()
            broker = RedisBroker.from_url(f"redis://worker:any@127.0.0.1:{module_server.port}")
            brokers.append(broker)
            broker.bind(NAMESPACE, object())
            try:
                everything(broker, module_server)
            except BrokerError as error:
                # Any other, such as that of a slow server, would leave commands untried.
                if not without or "does not let this user" not in str(error):
                    raise
            return refused(client)

    yield play
    for broker in brokers:
        broker.close()


def test_rule_allows_everything(scene: Callable[..., set[str]]) -> None:
    assert scene() == set()


@pytest.mark.parametrize("command", sorted(set(commands()) - {"eval"}))
def test_rule_allows_nothing_that_is_not_needed(
    scene: Callable[..., set[str]], command: str
) -> None:
    try:
        missed = scene(f"-{command}")
    except ResponseError:
        pytest.skip("Redis 6 cannot withhold a subcommand")
    assert command.partition("|")[0] in {each.partition("|")[0] for each in missed}


def test_keys_of_another_namespace_are_refused(own_server: Server) -> None:
    with own_server.client() as client:
        allow(client, acl_line("worker", NAMESPACE))
    for namespace, works in ((NAMESPACE, True), ("letters", False), ("letters-app2", False)):
        broker = RedisBroker.from_url(f"redis://worker:any@127.0.0.1:{own_server.port}")
        broker.bind(namespace, object())
        if works:
            assert broker.enqueue([deposit()]) == [True]
        else:
            with pytest.raises(BrokerError, match="does not let this user"):
                broker.enqueue([deposit()])
        broker.close()
