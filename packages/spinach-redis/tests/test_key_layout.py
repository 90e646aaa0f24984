"""The keys of a queue outlive the release that wrote them: they stay as golden/ says.

A scripted life brings a queue into a state in which each key exists that a queue can have.
What lies on the server then is compared with the file of its version.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from spinach import Engine, Tasks
from spinach.brokers.calls import (
    BeatProgress,
    CancelVerdict,
    Deposit,
    Ending,
    FailedFilter,
    FailedPortion,
    Verdict,
)
from spinach.exc import BrokerError
from spinach.outcome import Failure, Lease, Outcome, OutcomeKind
from spinach.progress import Progress
from spinach.record.header import header_line
from spinach_redis import RedisBroker, keys

from .jobs import QUEUE, Member
from .servers import Server

VERSION = keys.SCHEMA.decode()
GOLDEN = Path(__file__).parent / "golden" / f"keys-v{VERSION}.json"

#: The store's clock stands here; all instants of the golden file are near it, or `FAR`.
NOON_MS = 1_893_499_200_000
FAR_MS = NOON_MS + 864_000_000
#: Real time goes on during a call; instants are rounded to this.
COARSE_MS = 20_000


def job(name: str, task: str = "mail.send", due_ms: int | None = None) -> Deposit:
    """A job under a readable id, whose first character tells its kind."""
    record = header_line(max_retries=int(name[0]) * 5, queue=QUEUE, task=task) + b"[[],{},0]"
    return Deposit(QUEUE, name, record, due_ms)


class Life:
    """Leads a queue through all places of its jobs."""

    def __init__(self, new_broker: Callable[..., RedisBroker]) -> None:
        self._passed_ms = 0
        self._broker = new_broker(_offset_ms=self._offset_ms)
        self._held: dict[str, Lease] = {}

    def _offset_ms(self) -> int:
        # On the server's machine, so that its clock and this one are the same.
        return NOON_MS + self._passed_ms - time.time_ns() // 1_000_000

    def _enqueue(self, *jobs: Deposit) -> None:
        assert len(self._broker.enqueue(jobs)) == len(jobs)

    def _fetch(self, member: Member, *, idle: int, extra: int = 0) -> None:
        reply = member.fetch(idle=idle, extra=extra)
        assert reply.verdict is Verdict.APPLIED
        self._held |= {lease.stored_id: lease for lease in reply.leases}

    def _report(self, *outcomes: Outcome) -> None:
        verdicts = self._broker.report(outcomes).verdicts
        assert verdicts == (Verdict.APPLIED,) * len(outcomes)

    def _pass(self, ms: int, member: Member) -> str | None:
        """Let time pass and a member prove its life; returns whom it shall recover."""
        self._passed_ms += ms
        [reply] = self._broker.beat([member.turn()])
        assert reply.verdict is Verdict.APPLIED
        return reply.dead

    def lead(self) -> None:
        broker = self._broker
        living = Member(
            broker,
            name="living",
            limits={"mail.slow": 1, "mail.brisk": 1},
            periodic={"report": 86_400_000, "audit": 86_400_000},
            info={"host": "here", "pid": "1"},
        )
        doomed = Member(broker, name="doomed")

        # Jobs that a dead process held: one that it ran, one in its buffer.
        self._enqueue(job("1ran"), job("1lay"))
        self._fetch(doomed, idle=1, extra=1)
        assert {name: lease.direct for name, lease in self._held.items()} == {
            "1ran": True,
            "1lay": False,
        }
        named = [self._pass(12_000, living) for _ in range(4)]
        assert "doomed" in named
        assert broker.recover(QUEUE, "doomed").verdict is Verdict.APPLIED
        for _ in range(4):  # what it ran comes back after a random delay
            self._pass(12_000, living)
        assert broker.tick(QUEUE, ["report"]).verdict is Verdict.APPLIED
        self._fetch(living, idle=2)
        self._report(Outcome(OutcomeKind.RELEASE, self._held["1ran"], "mail.send"))
        self._fetch(living, idle=0, extra=1)

        # One in each other place.
        self._enqueue(
            job("1retrying"), job("1parked", "mail.scan"), job("1failed"), job("0running")
        )
        self._fetch(living, idle=4)
        failure = Failure(error="builtins.OSError", message="no line", traceback="Traceback ...")
        self._report(
            Outcome(OutcomeKind.RETRY, self._held["1retrying"], "mail.send", at_ms=FAR_MS),
            Outcome(OutcomeKind.PARK, self._held["1parked"], "mail.scan"),
            Outcome(OutcomeKind.FAILED, self._held["1failed"], "mail.send", failure=failure),
        )
        until = broker.failed_jobs(QUEUE)[0].cursor
        portion = FailedPortion(matching=FailedFilter(), until=until)
        assert broker.discard_matching(QUEUE, portion).count == 1
        self._enqueue(job("1failed"))
        self._fetch(living, idle=1)
        self._report(
            Outcome(OutcomeKind.FAILED, self._held["1failed"], "mail.send", failure=failure)
        )
        # Ends that are kept: one that someone waited for, and one that someone waits for still.
        self._enqueue(job("1waited"), job("1awaited"))
        self._fetch(living, idle=2)
        for name in ("1waited", "1awaited"):
            found = broker.await_end(QUEUE, name, 0.01)  # type: ignore[arg-type] # a readable id
            assert found.ending is Ending.PENDING
        kept = {"keep_ms": 3_600_000, "result": b'{"sent":1}'}
        self._report(
            Outcome(OutcomeKind.SUCCEEDED, self._held["1waited"], "mail.send", **kept)  # type: ignore[arg-type]
        )
        self._enqueue(
            *(job(f"1slow-{n}", "mail.slow") for n in range(4)),
            *(job(f"1brisk-{n}", "mail.brisk") for n in range(2)),
        )
        self._fetch(living, idle=6)
        self._report(Outcome(OutcomeKind.SUCCEEDED, self._held["1brisk-0"], "mail.brisk"))
        self._enqueue(job("1future", due_ms=FAR_MS), job("0future", due_ms=FAR_MS), job("1ready"))

        # One that was cancelled in each line, and one that its worker is to cancel.
        self._enqueue(job("1gap"), job("1after"))
        told = Progress(done=1, total=3, note="a third")
        lease = self._held["0running"]
        beat = BeatProgress(QUEUE, lease.member, lease.stored_id, lease.token, told)
        broker.beat([living.turn()], [beat])
        cancelled = broker.cancel_jobs(QUEUE, ["1gap", "1slow-2", "0running"])
        assert [each.verdict for each in cancelled] == [
            CancelVerdict.CANCELLED,
            CancelVerdict.CANCELLED,
            CancelVerdict.REQUESTED,
        ]
        # What an operator sets.
        assert broker.set_periodic_paused(QUEUE, "audit", paused=True)


def layout(client: Redis, namespace: str) -> dict[str, Any]:
    """Everything below a namespace, without what differs from run to run."""
    found = {}
    for key in sorted(client.scan_iter(f"{{{namespace}*")):
        name = key.decode().replace(namespace, "<namespace>")
        name = re.sub(r"(?<=:producer:)[0-9a-f]{32}$", "<session>", name)
        name = re.sub(r"(?<=:taken:)[0-9a-f]{32}$", "<call>", name)
        kind = client.type(key).decode()
        found[name] = {"type": kind, "value": value(client, key, kind)}
        if client.ttl(key) >= 0:
            found[name]["expires"] = True
    return found


def value(client: Redis, key: bytes, kind: str) -> Any:
    if kind == "string":
        return plain(client.get(key))
    if kind == "hash":
        return {plain(f): plain(v) for f, v in sorted(client.hgetall(key).items())}
    if kind == "list":
        return [plain(each) for each in client.lrange(key, 0, -1)]
    if kind == "set":
        return sorted(plain(each) for each in client.smembers(key))
    assert kind == "zset", kind
    return [[plain(each), near(score)] for each, score in client.zrange(key, 0, -1, withscores=1)]


def plain(data: bytes) -> str:
    return re.sub(r"\b\d{13}\b", lambda match: str(near(int(match[0]))), data.decode())


def near(number: float) -> float:
    """The number; an instant of this test rounded."""
    if abs(number - NOON_MS) < FAR_MS - NOON_MS:
        return round(number / COARSE_MS) * COARSE_MS
    return number


def changed(difference: list[str], proposal: Path) -> str:
    advice = (
        f"Queues of schema {VERSION} lie on servers as {GOLDEN.name} says, and releases that are "
        "out there use them. To change the layout: raise keys.SCHEMA, so that older releases "
        "refuse the queue and say why; tell how a queue gets from one to the other; and keep "
        f"what this test found, {proposal}, as the golden file of the new version, after "
        "reading it. Never edit a golden file to make a test pass."
    )
    return "\n".join([advice, "", *difference])


@pytest.fixture
def found(new_broker: Callable[..., RedisBroker], server: Server, namespace: str) -> dict[str, Any]:
    Life(new_broker).lead()
    with server.client() as client:
        # As an operator's pause does, which would take the marker away.
        client.set(f"{{{namespace}/{QUEUE}}}:paused", "1")
        return {"schema": VERSION, "keys": layout(client, namespace)}


def test_keys_and_values_are_as_the_golden_file_says(found: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    proposal = tmp_path / GOLDEN.name
    proposal.write_text(text, encoding="utf-8")
    golden = GOLDEN.read_text(encoding="utf-8") if GOLDEN.exists() else ""
    difference = list(
        difflib.unified_diff(
            golden.splitlines(), text.splitlines(), GOLDEN.name, "found", lineterm="", n=1
        )
    )
    assert text == golden, changed(difference, proposal)


def test_golden_file_holds_every_key_that_a_queue_can_have(found: dict[str, Any]) -> None:
    documented = dict(re.findall(r"^([a-z-]+)(?::<\w+>)? +(\w+)  ", keys.__doc__ or "", re.M))
    tag = f"{{<namespace>/{QUEUE}}}:"
    lying = {
        name.removeprefix(tag).split(":")[0]: entry["type"]
        for name, entry in json.loads(GOLDEN.read_text(encoding="utf-8"))["keys"].items()
        if name.startswith(tag)
    }
    assert lying == documented


def test_only_copies_expire(found: dict[str, Any]) -> None:
    expiring = [name for name, entry in found["keys"].items() if "expires" in entry]
    tag = f"{{<namespace>/{QUEUE}}}:"
    assert expiring == [f"{tag}producer:<session>", f"{tag}result:1waited", f"{tag}taken:<call>"]


def test_queue_of_a_newer_schema_is_refused_at_the_start_and_left_as_it_is(
    new_broker: Callable[..., RedisBroker], server: Server, namespace: str
) -> None:
    newer = str(int(VERSION) + 1)
    tasks = Tasks()
    tasks.add(print, "mail.send")
    engine = Engine(RedisBroker.from_url(server.unix_url), namespace)
    engine.attach_tasks(tasks)
    with server.client() as client:
        client.set(f"{{{namespace}/spinach}}:version", newer)
        message = f"'spinach' has storage version {newer}, .* knows version {VERSION}.*release"
        with pytest.raises(BrokerError, match=message):
            engine.start_workers(1, block=False)
        with pytest.raises(BrokerError, match=message):
            engine.schedule("mail.send")
        version = f"{{{namespace}/spinach}}:version".encode()
        assert client.keys(f"{{{namespace}/spinach}}:*") == [version]
        assert client.get(version) == newer.encode()
