from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from spinach.brokers.calls import Enrolment, Verdict
from spinach.const import NAMING_MS
from spinach.exc import BrokerError, BrokerUnavailable
from spinach.outcome import Failure, Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis import scripts as script
from spinach_redis.keys import QueueKeys

from .jobs import LEASE_MS, QUEUE, TASK, Member, deposit, success
from .proxy import Loss, Proxy
from .servers import Server

NewBroker = Callable[..., RedisBroker]
LONG_SECONDS = 1000.0


@pytest.fixture
def broker(new_broker: NewBroker, proxy: Proxy) -> RedisBroker:
    return new_broker(proxy.url)


def reconciled(member: Member, *held: object) -> list[str]:
    reply = member.broker.reconcile(member.turn(), [(h.stored_id, h.token) for h in held])
    assert reply.verdict is Verdict.APPLIED
    assert reply.strays == ()
    return [lease.stored_id for lease in reply.missing]


@pytest.mark.parametrize("block_seconds", [0.0, LONG_SECONDS])
def test_jobs_of_a_fetch_whose_answer_was_lost_come_with_the_reconciliation(
    broker: RedisBroker, proxy: Proxy, block_seconds: float
) -> None:  # I6
    jobs = [deposit() for _ in range(5)]
    broker.enqueue(jobs)
    member = Member(broker)
    [held] = member.take(idle=1)
    proxy.lose(Loss.ANSWER, script.FETCH.sha)
    reply = member.fetch(idle=2, extra=1, block_seconds=block_seconds)
    assert reply.verdict is Verdict.UNKNOWN
    assert isinstance(reply.error, BrokerUnavailable)
    assert reconciled(member, held) == [job.stored_id for job in jobs[1:4]]
    assert broker.counts([QUEUE])[0].leased == 4


@pytest.mark.parametrize("block_seconds", [0.0, LONG_SECONDS])
def test_fetch_that_never_arrived_leased_nothing(
    broker: RedisBroker, proxy: Proxy, block_seconds: float
) -> None:  # I6
    broker.enqueue([deposit()])
    member = Member(broker)
    needle = script.FETCH.sha if not block_seconds else b"BZPOPMIN"
    proxy.lose(Loss.REQUEST, needle)
    assert member.fetch(block_seconds=block_seconds).verdict is Verdict.UNKNOWN
    assert reconciled(member) == []
    assert len(member.take()) == 1


def test_copy_of_a_fetch_that_comes_late_is_stale(broker: RedisBroker) -> None:
    broker.enqueue([deposit()])
    member = Member(broker)
    reconciled(member)
    member.number -= 1
    reply = member.fetch()
    assert (reply.verdict, reply.leases) == (Verdict.STALE, ())


def test_outcome_whose_answer_was_lost_is_refused_when_sent_again(
    broker: RedisBroker, proxy: Proxy
) -> None:  # I5
    broker.enqueue([deposit()])
    [lease] = Member(broker).take()
    proxy.lose(Loss.ANSWER, script.REPORT.sha)
    first = broker.report([success(lease)])
    assert first.verdicts == (Verdict.UNKNOWN,)
    assert isinstance(first.error, BrokerUnavailable)
    assert broker.report([success(lease)]).verdicts == (Verdict.REFUSED,)
    assert broker.counts([QUEUE])[0].unfinished == 0


def test_outcome_that_never_arrived_counts_when_sent_again(
    broker: RedisBroker, proxy: Proxy
) -> None:
    broker.enqueue([deposit()])
    [lease] = Member(broker).take()
    proxy.lose(Loss.REQUEST, script.REPORT.sha)
    assert broker.report([success(lease)]).verdicts == (Verdict.UNKNOWN,)
    assert broker.counts([QUEUE])[0].leased == 1
    assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)


def test_outcomes_of_queues_that_were_answered_count_though_another_was_lost(
    broker: RedisBroker, proxy: Proxy
) -> None:
    queues = ["one", "two", "three"]
    broker.enqueue([deposit(queue) for queue in queues])
    leases = [Member(broker, queue).take()[0] for queue in queues]
    proxy.lose(Loss.REQUEST, script.REPORT.sha, skip=1)
    verdicts = broker.report([success(lease) for lease in leases]).verdicts
    assert verdicts[1:] == (Verdict.UNKNOWN, Verdict.UNKNOWN)
    again = broker.report([success(lease) for lease in leases]).verdicts
    # Whether the answer of the first still came through is the network's affair.
    assert again == (Verdict.REFUSED, Verdict.APPLIED, Verdict.APPLIED)


@pytest.mark.parametrize("loss", Loss)
def test_reconciliation_that_was_lost_is_asked_anew(
    broker: RedisBroker, proxy: Proxy, loss: Loss
) -> None:  # I6
    job = deposit()
    broker.enqueue([job])
    member = Member(broker)
    proxy.lose(Loss.ANSWER, script.FETCH.sha)
    member.fetch()
    proxy.lose(loss, script.RECONCILE.sha)
    assert broker.reconcile(member.turn(), []).verdict is Verdict.UNKNOWN
    assert reconciled(member) == [job.stored_id]


@pytest.mark.parametrize("loss", Loss)
def test_other_calls_say_that_their_fate_is_unknown(
    broker: RedisBroker, proxy: Proxy, loss: Loss
) -> None:
    member = Member(broker)
    calls = {
        script.JOIN: lambda: broker.join(QUEUE, "another", Enrolment(lease_ms=30_000)),
        script.BEAT: lambda: broker.beat([member.turn()])[0],
        script.TICK: lambda: broker.tick(QUEUE, []),
        script.FIRE: lambda: broker.fire(QUEUE, TASK, 1, deposit()),
        script.RECOVER: lambda: broker.recover(QUEUE, "another"),
        script.COUNTS: lambda: broker.counts([QUEUE])[0],
        script.LEAVE: lambda: broker.leave(member.turn()),
    }
    for each, call in calls.items():
        proxy.lose(loss, each.sha)
        reply = call()
        assert reply.verdict is Verdict.UNKNOWN, each
        assert isinstance(reply.error, BrokerUnavailable), each
        again = call()
        assert again.verdict is not Verdict.UNKNOWN, each
        assert again.error is None, each


def test_join_whose_answer_was_lost_is_made_again(broker: RedisBroker, proxy: Proxy) -> None:
    proxy.lose(Loss.ANSWER, script.JOIN.sha)
    enrolment = Enrolment(lease_ms=30_000, limits={TASK: 1}, periodic={TASK: 60_000})
    assert broker.join(QUEUE, "me", enrolment).verdict is Verdict.UNKNOWN
    reply = broker.join(QUEUE, "me", enrolment)
    assert reply.verdict is Verdict.APPLIED
    assert reply.next_due_in_ms is not None
    assert broker.counts([QUEUE])[0].members == 1


@pytest.mark.parametrize("loss", Loss)
def test_declaration_without_an_answer_is_made_again(
    broker: RedisBroker, proxy: Proxy, loss: Loss
) -> None:  # I10
    member = Member(broker, limits={TASK: 5, "mail.read": 1})
    broker.enqueue([deposit() for _ in range(3)])

    def declare() -> Verdict:
        enrolment = Enrolment(
            lease_ms=LEASE_MS,
            limits={TASK: 1},
            periodic={TASK: 60_000},
            number=member.turn().number,
        )
        return broker.join(QUEUE, member.name, enrolment).verdict

    proxy.lose(loss, script.JOIN.sha)
    assert declare() is Verdict.UNKNOWN
    assert declare() is Verdict.APPLIED
    assert len(member.take(idle=3)) == 1


def test_declaration_learns_the_limits_that_its_process_did_not_know_of(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I10
    broker = new_broker()
    member = Member(broker, limits={TASK: 1, "mail.read": 1, "mail.sort": 2})
    Member(new_broker(), limits={"mail.burn": 1})
    # As in a process whose connections were made anew.
    forgetful = new_broker()
    turn = member.turn()
    enrolment = Enrolment(lease_ms=LEASE_MS, limits={"mail.sort": 2}, number=turn.number)
    assert forgetful.join(QUEUE, member.name, enrolment).verdict is Verdict.APPLIED
    with server.client() as client:
        [limits] = QueueKeys(namespace, QUEUE).fixed(("limits",))
        assert set(client.hkeys(limits)) == {b"mail.sort", b"mail.burn"}


def test_full_server_takes_a_declaration(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("full", object())
    member = Member(broker, limits={TASK: 1})
    broker.enqueue([deposit() for _ in range(3)])
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        [lease] = member.take(idle=3)
        turn = member.turn()
        enrolment = Enrolment(
            lease_ms=LEASE_MS, limits={"mail.read": 1}, periodic={TASK: 60_000}, number=turn.number
        )
        assert broker.join(QUEUE, member.name, enrolment).verdict is Verdict.APPLIED
        broker.report([success(lease)])
        assert len(member.take(idle=3)) == 2
    broker.close()


def test_tick_that_was_fired_without_an_answer_is_not_fired_again(
    new_broker: NewBroker, proxy: Proxy
) -> None:  # I15
    now_ms = [0]
    broker = new_broker(proxy.url, _offset_ms=lambda: now_ms[0])
    Member(broker, periodic={TASK: 60_000})
    now_ms[0] += 60_000
    [due] = broker.tick(QUEUE, [TASK]).due
    proxy.lose(Loss.ANSWER, script.FIRE.sha)
    assert broker.fire(QUEUE, TASK, due.due_ms, deposit()).verdict is Verdict.UNKNOWN
    assert broker.fire(QUEUE, TASK, due.due_ms, deposit()).verdict is Verdict.REFUSED
    assert broker.counts([QUEUE])[0].ready == 1


def test_person_learns_that_an_answer_was_lost(broker: RedisBroker, proxy: Proxy) -> None:  # I3
    job = deposit(max_retries=0)
    broker.enqueue([job])
    [lease] = Member(broker).take()
    broker.report(
        [Outcome(OutcomeKind.FAILED, lease, TASK, failure=Failure(error="E", message="m"))]
    )
    proxy.lose(Loss.ANSWER, script.FAILED_PAGE.sha)
    assert len(broker.failed_jobs(QUEUE)) == 1
    proxy.lose(Loss.ANSWER, script.REVIVE.sha)
    with pytest.raises(BrokerError, match="unknown"):
        broker.retry_failed(QUEUE, [job.stored_id])
    # Sent again by itself it might run twice what failed once more in between.
    assert broker.counts([QUEUE])[0].ready == 1
    assert broker.retry_failed(QUEUE, [job.stored_id]) == 0


def test_failed_jobs_that_fill_many_answers_are_all_read(broker: RedisBroker) -> None:  # I19
    jobs = [deposit(max_retries=0, payload=b"x" * 400_000) for _ in range(6)]
    broker.enqueue(jobs)
    member = Member(broker)
    leases = [lease for _ in range(3) for lease in member.take(idle=6)]
    broker.report([Outcome(OutcomeKind.FAILED, lease, TASK) for lease in leases])
    entries = broker.failed_jobs(QUEUE, limit=10)
    assert [entry.stored_id for entry in entries] == [job.stored_id for job in reversed(jobs)]
    assert [entry.record for entry in entries] == [job.record for job in reversed(jobs)]


def test_releases_of_more_than_one_call_carries_keep_their_order(broker: RedisBroker) -> None:
    jobs = [deposit() for _ in range(2300)]
    broker.enqueue(jobs)
    member = Member(broker)
    leases = [lease for _ in range(3) for lease in member.take(idle=1000)]
    outcomes = [Outcome(OutcomeKind.RELEASE, lease, TASK) for lease in leases]
    outcomes.insert(7, Outcome(OutcomeKind.SUCCEEDED, leases[0], TASK))
    verdicts = broker.report(outcomes).verdicts
    assert verdicts[7] is Verdict.APPLIED
    assert verdicts.count(Verdict.REFUSED) == 1
    again = [lease.stored_id for _ in range(3) for lease in member.take(idle=1000)]
    assert again == [job.stored_id for job in jobs[1:]]


def test_report_of_what_is_over_is_answered_by_a_full_server(own_server: Server) -> None:  # I5
    """Else the process would send it again for as long as the server is full."""
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("full", object())
    broker.enqueue([deposit(), deposit()])
    member = Member(broker)
    [lease] = member.take()
    assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        again = broker.report([success(lease)])
    assert (again.verdicts, again.error) == ((Verdict.REFUSED,), None)
    broker.close()


def test_beat_renews_the_lease_that_the_member_joined_with(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    """Whichever broker instance sends it: none has to remember leases."""
    now_ms = [0]
    member = Member(new_broker(_offset_ms=lambda: now_ms[0]), lease_ms=90_000)
    other = new_broker(_offset_ms=lambda: now_ms[0])
    key = f"{{{namespace}/{QUEUE}}}:members"
    with server.client() as client:
        before = client.zscore(key, member.name)
        now_ms[0] += 10_000
        assert other.beat([member.turn()])[0].verdict is Verdict.APPLIED
        assert 10_000 <= client.zscore(key, member.name) - before < 20_000


def test_dead_member_is_named_again_after_the_time_that_the_memory_broker_gives(
    new_broker: NewBroker,
) -> None:  # I11
    now_ms = [0]
    broker = new_broker(_offset_ms=lambda: now_ms[0])
    doomed, one, other = (Member(broker) for _ in range(3))

    def named(member: Member, after_ms: int) -> str | None:
        now_ms[0] += after_ms
        return broker.beat([member.turn()])[0].dead

    for member in (one, other) * 2:
        assert named(member, 7_000) is None
    assert named(one, 7_000) == doomed.name
    assert named(other, 6_000) is None
    assert named(other, NAMING_MS - 6_000) == doomed.name


def test_server_that_is_away_is_no_error_but_an_answer(new_broker: NewBroker) -> None:
    broker = new_broker("redis://127.0.0.1:1")
    reply = broker.join(QUEUE, "me", Enrolment(lease_ms=30_000))
    assert reply.verdict is Verdict.UNKNOWN
    assert isinstance(reply.error, BrokerUnavailable)
    assert "127.0.0.1:1" in str(reply.error)


def test_server_that_is_busy_with_a_script_is_no_error_but_an_answer(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("busy", object())
    member = Member(broker)
    with own_server.client() as client, own_server.client() as other:
        client.config_set("lua-time-limit", 10)

        def run_for_ever() -> None:
            with contextlib.suppress(ResponseError):  # killed below
                client.eval("while true do end", 0)

        loop = threading.Thread(target=run_for_ever)
        loop.start()
        replies = []
        while not any("BUSY" in str(reply.error) for reply in replies) and len(replies) < 50:
            replies.append(broker.beat([member.turn()])[0])
        other.script_kill()
        loop.join(10)
        assert replies[-1].verdict is Verdict.UNKNOWN
        assert isinstance(replies[-1].error, BrokerUnavailable)
        assert broker.beat([member.turn()])[0].verdict is Verdict.APPLIED
    broker.close()


def test_leases_that_are_too_large_for_one_reply_are_reconciled_in_portions(
    new_broker: NewBroker,
) -> None:  # I6, I19
    broker = new_broker()
    jobs = [deposit(payload=b"[%s]" % (b"1" * 400_000)) for _ in range(6)]
    broker.enqueue(jobs)
    member = Member(broker)
    lost = [lease for _ in range(3) for lease in member.take(idle=2)]
    assert len(lost) == 6
    held: list[tuple[str, str]] = []
    sizes = []
    while True:
        reply = broker.reconcile(member.turn(), held)
        held += [(lease.stored_id, lease.token) for lease in reply.missing]
        sizes.append(len(reply.missing))
        if not reply.more:
            break
    assert sizes == [2, 2, 2]
    assert [pair[0] for pair in held] == [job.stored_id for job in jobs]
    again = broker.reconcile(member.turn(), held)
    assert (again.missing, again.strays, again.more) == ((), (), False)
