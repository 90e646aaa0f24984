from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from spinach.brokers.calls import (
    Cursor,
    Deposit,
    Enrolment,
    FailedFilter,
    FailedPortion,
    FetchTurn,
    Verdict,
)
from spinach.const import MAX_FETCH_BYTES
from spinach.outcome import Outcome, OutcomeKind
from spinach.record.header import UnreadableRecord, read_header
from spinach.record.ids import stored_id
from spinach_redis import RedisBroker, keys
from spinach_redis import scripts as script
from spinach_testing.conformance import Lab, conformance_tests

from .harness import RedisHarness
from .jobs import QUEUE, TASK, Member, deposit, success
from .servers import Server

NewBroker = Callable[..., RedisBroker]

FOLDER = Path(script.__file__).parent


def own_text(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text()


@pytest.mark.parametrize("each", script.SCRIPTS, ids=lambda each: each.name)
class TestEveryScript:
    def test_opens_with_its_keys_arguments_and_reply(self, each: script.Script) -> None:
        head = re.match(r"(--[^\n]*\n)+", own_text(each.name))
        assert head is not None
        parts = re.findall(r"^-- (KEYS|ARGV|Reply)\b", head[0], re.M)
        assert parts == ["KEYS", "ARGV", "Reply"]

    def test_takes_the_keys_that_the_package_declares(self, each: script.Script) -> None:
        names = re.search(r"^local NAMES = \{([^}]*)\}", own_text(each.name), re.M)
        assert names is not None
        declared = getattr(keys, each.name.upper())
        assert tuple(re.findall(r"'([^']+)'", names[1])) == declared

    def test_decodes_nothing(self, each: script.Script) -> None:  # I18
        assert not re.search(rb"cjson|cmsgpack|struct\.|bit\.", each.text)

    def test_orders_no_text(self, each: script.Script) -> None:
        # A server compares texts as its locale does: with that of en_US 'S' comes behind 'a'.
        assert not re.search(rb"[<>]=?\s*['\"]", each.text)

    def test_makes_up_no_key(self, each: script.Script) -> None:
        assert b"'{" not in each.text


def test_all_files_are_used() -> None:
    assert {each.name for each in script.SCRIPTS} == {entry.stem for entry in FOLDER.glob("*.lua")}
    used = b"".join(each.text for each in script.SCRIPTS)
    for entry in (FOLDER / "shared").iterdir():
        assert entry.read_bytes() in used, entry.name


def test_a_file_of_several_scripts_is_kept_once() -> None:
    kept = {id(part) for each in script.SCRIPTS for part in each.parts}
    assert len(kept) == len([*FOLDER.glob("*.lua"), *FOLDER.glob("shared/*.lua")])


def test_calls_survive_a_server_that_forgot_the_scripts(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("forgetful", object())
    with own_server.client() as client:

        def forget() -> None:
            client.script_flush()

        forget()
        jobs = [deposit() for _ in range(1200)]
        broker.enqueue(jobs)
        forget()
        member = Member(broker)
        forget()
        first = member.take()
        forget()
        second = member.fetch(idle=1, block_seconds=1000.0).leases
        leases = [*first, *second]
        assert [lease.stored_id for lease in leases] == [job.stored_id for job in jobs[:2]]
        forget()
        assert broker.beat([member.turn()])[0].verdict is Verdict.APPLIED
        forget()
        held = [(lease.stored_id, lease.token) for lease in leases]
        assert broker.reconcile(member.turn(), held).missing == ()
        forget()
        assert set(broker.report([success(lease) for lease in leases]).verdicts) == {
            Verdict.APPLIED
        }
        forget()
        assert broker.tick(QUEUE, []).verdict is Verdict.APPLIED
        forget()
        assert broker.fire(QUEUE, TASK, 1, deposit()).verdict is Verdict.REFUSED
        forget()
        assert broker.recover(QUEUE, "nobody").verdict is Verdict.REFUSED
        forget()
        assert broker.counts([QUEUE])[0].ready == 1198
        forget()
        assert broker.failed_jobs(QUEUE) == []
        forget()
        assert broker.find_failed([QUEUE], ["1x"]) == []
        forget()
        portion = FailedPortion(matching=FailedFilter(), until=Cursor(2**52, 0, "1"))
        assert broker.retry_matching(QUEUE, portion).count == 0
        forget()
        assert broker.retry_failed(QUEUE, ["1x"]) == broker.discard_failed(QUEUE, ["1x"]) == 0
        forget()
        assert broker.leave(member.turn()).verdict is Verdict.APPLIED
    broker.close()


#: Behaviours that together call every script, with limits, parks and dead members; none that
#: sends more than a server keeps for a client that monitors it.
COVERING = re.compile(
    r"(Limits|Parks|Leave|Retry|Periodic|Counts|Release|Reconciliation|Fencing|Retention)Behaviour"
    r"|(Finding|Found|Cancel)Behaviour::test_(?!.*(pages|many|large|bounded|far_behind))"
    r"|EndsBehaviour::test_cancel"
    r"|FindingBehaviour::test_pages_of_a_place"
    r"|(Pausing|Purging)Behaviour|(Looking|Overrides)Behaviour::test_(?!.*bounded)"
    r"|(FailedStore|Matching|Results)Behaviour::"
    r"test_(?!.*(number|many|old|age|bytes?|bounded|page|large))"
)


def test_scripts_touch_only_keys_that_were_declared(own_server: Server) -> None:
    undeclared: list[str] = []
    commands = 0
    calls: set[bytes] = set()
    by_sha = {each.sha.decode(): each for each in script.SCRIPTS}

    def make(_namespace: str, **options: object) -> RedisBroker:
        return RedisBroker.from_url(own_server.unix_url, **options)

    with own_server.client() as client:
        for each in script.SCRIPTS:
            client.script_load(each.text)
        with client.monitor() as monitor:

            def watch() -> None:
                nonlocal commands
                declared: set[str] = set()
                for event in monitor.listen():
                    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', event["command"])
                    parts = [quoted or bare for quoted, bare in words]
                    if parts[0] == "ECHO":
                        return
                    if parts[0] == "EVALSHA":
                        declared = set(parts[3 : 3 + int(parts[2])])
                        calls.add(by_sha[parts[1]].name.encode())
                    elif event["client_type"] == "lua":
                        commands += 1
                        if len(parts) > 1 and parts[1] not in declared:
                            undeclared.append(f"{parts[0]} {parts[1]}")

            watcher = threading.Thread(target=watch)
            watcher.start()
            for test in conformance_tests():
                if COVERING.match(test.name):
                    with RedisHarness(make, own_server.client()) as harness, Lab(harness) as lab:
                        test.run(lab)
            client.echo("end")
            watcher.join(30)
    assert undeclared == []
    assert commands > 1000
    assert calls == {each.name.encode() for each in script.SCRIPTS}


def test_nothing_but_sessions_and_counters_is_left_of_jobs_that_are_done(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I19
    broker = new_broker()
    broker.enqueue([deposit() for _ in range(20)])
    member = Member(broker, limits={TASK: 5})
    while leases := member.take(idle=5):
        broker.report([success(lease) for lease in leases])
    assert broker.leave(member.turn()).verdict is Verdict.APPLIED
    tag = f"{{{namespace}/{QUEUE}}}:"
    with server.client() as client:
        left = {key.decode().removeprefix(tag).split(":")[0] for key in client.keys(f"{tag}*")}
    assert left == {"version", "enqueued", "leases", "guard", "flow", "producer"}


def test_paused_queue_hands_out_nothing_and_wakes_nobody(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    broker = new_broker()
    member = Member(broker)
    tag = f"{{{namespace}/{QUEUE}}}:"
    with server.client() as client:
        client.set(f"{tag}paused", "1")
        broker.enqueue([deposit()])
        assert member.take() == []
        assert not client.exists(f"{tag}marker")
        client.delete(f"{tag}paused")
    assert len(member.take()) == 1


def test_paused_queue_names_nothing_to_fetch(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    """Else a process would fetch again and again, since parks and `more` end its wait."""
    broker = new_broker()
    broker.enqueue([deposit(), deposit()])
    member = Member(broker)
    [lease] = member.take()
    broker.report([Outcome(OutcomeKind.PARK, lease, TASK)])
    tag = f"{{{namespace}/{QUEUE}}}:"

    def ask() -> tuple[int, bool, tuple[str, ...]]:
        turn = member.turn()
        asked = FetchTurn(turn.queue, turn.member, turn.number, (TASK,))
        [reply] = broker.fetch([asked], idle=1, extra=0, max_bytes=MAX_FETCH_BYTES)
        assert reply.verdict is Verdict.APPLIED
        return len(reply.leases), reply.more, reply.parks

    with server.client() as client:
        client.set(f"{tag}paused", "1")
        assert ask() == (0, False, ())
        reply = member.fetch(idle=0)
        assert (reply.more, reply.parks) == (False, ())
        client.delete(f"{tag}paused")
    reply = member.fetch(idle=0)
    assert (reply.more, reply.parks) == (True, (TASK,))
    assert ask() == (1, True, ())


NAME = "n" * 200
HEADERS = [
    b"1|3|-|q|t",
    b"1|9999999|-|q.A_0:-|t.A_0:-",
    b"1|0|-|" + NAME.encode() + b"|" + NAME.encode(),
    b"1|3|h|q|t",
    b"1|3|r|q|t",
    b"1|3|x|q|t",
    b"1|3|hr|q|t",
    b"1|0|hx|q|t",
    b"1|3|rx|q|t",
    b"1|3|hrx|q|t",
    b"1|3|xh|q|t",
    b"1|3|hh|q|t",
    b"1|3|hrxz|q|t",
    b"1|3|-h|q|t",
    b"1|3|X|q|t",
    b"1|3|a|q|t",
    b"1|3|ab|q|t",
    b"1|3||q|t",
    b"1|3|--|q|t",
    b"1|99999999|-|q|t",
    b"1||-|q|t",
    b"1|x|-|q|t",
    b"2|3|-|q|t",
    b"11|3|-|q|t",
    b"1|3|-||t",
    b"1|3|-|q|",
    b"1|3|-|q|t ",
    b"1|3|-|q u|t",
    b"1|3|-|q|t\xc3\xa9",
    b"1|3|-|q|t|u",
    b"1|3|-|q",
    b"1|3|-|q|t" + NAME.encode(),
    b"1|3|-|q" + NAME.encode() + b"|t",
    b"",
]


@pytest.mark.parametrize("header", HEADERS)
def test_scripts_read_the_records_that_python_reads(server: Server, header: bytes) -> None:  # I10
    record = header + b"\n[[],{},0]"
    shared = (FOLDER / "shared" / "record.lua").read_text()
    with server.client() as client:
        ask = f"{shared}\nreturn {{task_of(ARGV[1]), max_retries_of(ARGV[1]) or false}}"
        task, max_retries = client.eval(ask, 0, record)
    try:
        expected = read_header(record)
    except UnreadableRecord:
        assert (task, max_retries) == (None, None)
    else:
        assert (task.decode(), max_retries) == (expected.task, expected.max_retries)


@pytest.mark.parametrize("flags", ["h", "r", "x", "hr", "hx", "rx", "hrx"])
def test_job_with_options_takes_a_slot_of_its_task(
    new_broker: NewBroker, server: Server, namespace: str, flags: str
) -> None:  # I10
    broker = new_broker()
    member = Member(broker, limits={TASK: 1})
    jobs = [deposit(flags=flags), deposit(flags=flags)]
    broker.enqueue(jobs)
    [lease] = member.take(idle=2)
    assert lease.record == jobs[0].record
    slots = f"{{{namespace}/{QUEUE}}}:slots"
    with server.client() as client:
        assert client.zrange(slots, 0, -1) == [f"{TASK}|{lease.stored_id}".encode()]
        broker.report([success(lease)])
        assert not client.exists(slots)
    assert [each.stored_id for each in member.take(idle=2)] == [jobs[1].stored_id]


def test_record_that_cannot_be_read_takes_no_slot(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I10, I13
    """Its outcome names the park of such records, so nothing would free the slot."""
    broker = new_broker()
    member = Member(broker, limits={TASK: 1})
    strange = Deposit(QUEUE, stored_id("strange", 3), f"1|3|a|{QUEUE}|{TASK}\n[]".encode())
    broker.enqueue([strange])
    [lease] = member.take()
    assert lease.record == strange.record
    tag = f"{{{namespace}/{QUEUE}}}:"
    with server.client() as client:
        assert not client.exists(f"{tag}slots")
    broker.report([Outcome(OutcomeKind.PARK, lease, "record|1+a")])
    broker.enqueue([deposit()])
    assert len(member.take()) == 1


def test_operator_overrides_a_limit(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I10
    broker = new_broker()
    member = Member(broker, limits={TASK: 1})
    broker.enqueue([deposit() for _ in range(5)])
    with server.client() as client:
        client.hset(f"{{{namespace}/{QUEUE}}}:limits", TASK, 3)
    assert len(member.take(idle=5)) == 3


def test_limit_that_a_process_does_not_declare_binds_it(new_broker: NewBroker) -> None:  # I10
    declaring, other = new_broker(), new_broker()
    Member(declaring, limits={TASK: 2})
    other.enqueue([deposit() for _ in range(5)])
    member = Member(other)
    assert len(member.take(idle=5)) == 2
    other.enqueue([deposit("elsewhere")])
    assert other.counts([QUEUE, "elsewhere"])[0].held == 3


def test_second_process_may_name_another_limited_task(new_broker: NewBroker) -> None:
    broker = new_broker()
    first = Member(broker, limits={TASK: 2})
    assert first.take() == []
    newer = new_broker()
    newer.join(QUEUE, "newer", Enrolment(lease_ms=30_000, limits={"another": 1}))
    broker.enqueue([deposit()])
    assert len(first.take()) == 1
    assert broker.leave(first.turn()).verdict is Verdict.REFUSED
