"""Where hazards are played: a queue, its processes and its time, and what must hold there."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from spinach.brokers.calls import Deposit, Enrolment, FetchTurn, Turn
from spinach.const import MAX_FETCH_BYTES
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.record.header import header_line
from spinach.record.ids import stored_id
from spinach_redis import keys, replies, requests
from spinach_redis import scripts as script
from spinach_redis.keys import QueueKeys
from spinach_redis.producer import SESSION_LIFE_MS
from spinach_redis.transport.command import Call

from . import ledger

__all__ = ["HazardProcess", "HazardScene"]

QUEUE = "letters"
LEASE_MS = 30_000
BEAT_MS = 10_000
LIMIT = 2


class HazardScene:
    """A queue, its processes and its time; what was seen of each job.

    Time stands still between the steps: see `sides.server_time_stands_still`.
    """

    def __init__(self, client: Redis) -> None:
        self.namespace = "t" + uuid.uuid4().hex
        self.names = QueueKeys(self.namespace, QUEUE)
        self.now_ms = 10**12
        self.processes: list[HazardProcess] = []
        self.accepted: set[str] = set()
        #: Job → how often it ran, in any process.
        self.ran: dict[str, int] = {}
        #: (job, token) that were given back without having run.
        self.released: set[tuple[str, str]] = set()
        self._client = client
        #: Job that runs at most once → tokens it was leased under.
        self._tokens: dict[str, set[str]] = {}
        client.sadd(keys.queues_key(self.namespace), QUEUE)

    # -- messages ----------------------------------------------------------

    def send(self, call: Call) -> Any:
        """A request arrives; its answer is lost if nobody looks at it.

        However long it was on its way, the time of the call is that of the arrival.
        """
        call = replace(call, args=(self.offset, *call.args[1:]))
        command: Any = self._client.execute_command  # which redis-py gives no types
        return command(*call.command(with_text=True))

    @property
    def offset(self) -> str:
        return str(self.now_ms)

    def enqueue(self, count: int) -> list[Deposit]:
        """Jobs of both kinds, some of a limited task, over a line without faults."""
        deposits = []
        for number in range(count):
            retries, task = (0, 3)[number % 2], ("plain", "limited")[number // 2 % 2]
            record = header_line(max_retries=retries, queue=QUEUE, task=task) + b"[[],{},0]"
            deposits.append(Deposit(QUEUE, stored_id(str(uuid.uuid4()), retries), record))
        return deposits

    def chunk(self, session: str, number: int, deposits: list[Deposit]) -> Call:
        """The request that stores jobs, as a producer sends it."""
        self.accepted |= {each.stored_id for each in deposits}
        return Call(
            script.ENQUEUE,
            (*self.names.fixed(keys.ENQUEUE), self.names.producer(session)),
            (
                *(self.offset, keys.SCHEMA, number, SESSION_LIFE_MS),
                *(part for each in deposits for part in (each.stored_id, each.record, "")),
            ),
        )

    def fill(self, count: int) -> None:
        """Enqueue jobs for a hazard to take."""
        answer = self.send(self.chunk(uuid.uuid4().hex, 1, self.enqueue(count)))
        assert answer[0] == b"OK"

    def refuse(self, call: Call) -> None:
        """A request comes while the server is full."""
        self._client.config_set("maxmemory", 1)
        try:
            with pytest.raises(ResponseError, match="maxmemory"):
                self.send(call)
        finally:
            self._client.config_set("maxmemory", 0)

    def counted(self) -> int:
        """Jobs ever accepted, as the server has it."""
        return int(self._client.get(self.names.fixed(("enqueued",))[0]) or 0)

    # -- time --------------------------------------------------------------

    def outlive(self, *dead: HazardProcess) -> None:
        """Time passes until the leases of these are over, while the others beat."""
        for process in dead:
            process.stopped = True
        for _ in range(LEASE_MS // BEAT_MS + 1):
            self.now_ms += BEAT_MS
            for process in self.processes:
                if not process.stopped:
                    process.beat()

    # -- what must hold ----------------------------------------------------

    def look(self) -> None:
        """Check the keys, and that no job that runs at most once was handed out again."""
        for found in ledger.check(self._client, self.namespace):
            assert len(found.slots_of("limited")) <= LIMIT
            for leases in found.leases.values():
                self._look_at_tokens(leases)

    def _look_at_tokens(self, leases: dict[str, str]) -> None:
        for job, token in leases.items():
            if job[0] == "0":
                tokens = self._tokens.setdefault(job, set())
                tokens.add(token)
                kept = {each for each in tokens if (job, each) not in self.released}
                assert len(kept) <= 1, f"{job} was leased as {tokens}"

    def end(self) -> None:
        """Let everybody finish, and check that nothing was lost and nothing doubled."""
        for process in self.processes:
            if not process.stopped:
                process.settle()
        worker = HazardProcess(self)
        dead = [process for process in self.processes if process.stopped]
        if dead:
            self.outlive(*dead)
            for process in dead:
                self.send(requests.recover(self.names, self.offset, process.name))
        for _ in range(1000):
            self.look()
            worker.run(worker.fetch(idle=5))
            waits = self.send(requests.tick(self.names, self.offset, ()))[0]
            if waits is not None:
                self.now_ms += waits
                worker.beat()
            elif not self.unfinished():
                break
        for process in self.processes:
            if not process.stopped:
                assert process.leave() == b"APPLIED"
        [found] = ledger.check_drained(self._client, self.namespace)
        failed = set(found.get("failed", ()))
        assert self.counted() == len(self.accepted)
        for job in self.accepted:
            times = self.ran.get(job, 0)
            if job[0] == "0":
                assert times <= 1, f"{job} runs at most once and ran {times} times"
            assert times >= 1 or job in failed, f"{job} is lost"

    def unfinished(self) -> bool:
        [found] = ledger.read(self._client, self.namespace)
        return bool(set(found.jobs) - set(found.get("failed", ())))


class HazardProcess:
    """A worker process: what it received, and the requests it makes."""

    def __init__(self, scene: HazardScene) -> None:
        self.name = uuid.uuid4().hex
        self.number = 0
        self.stopped = False
        #: Received, and the outcome not answered.
        self.held: dict[tuple[str, str], Lease] = {}
        self._scene = scene
        enrolment = Enrolment(lease_ms=LEASE_MS, limits={"limited": LIMIT})
        members = [other.name for other in scene.processes]
        scene.send(requests.join(scene.names, scene.offset, self.name, enrolment, members))
        scene.processes.append(self)

    def turn(self) -> Turn:
        self.number += 1
        return Turn(QUEUE, self.name, self.number)

    # -- requests, which arrive when they are sent --------------------------

    def fetch_request(self, idle: int) -> Call:
        turn = self.turn()
        asked = FetchTurn(QUEUE, self.name, turn.number)
        return requests.fetch(
            [(asked, self._scene.names)],
            self._scene.offset,
            idle=idle,
            extra=0,
            max_bytes=MAX_FETCH_BYTES,
        )

    def report_request(self, kind: OutcomeKind, *leases: Lease) -> Call:
        outcomes = [
            Outcome(kind, each, each.record.split(b"\n")[0].split(b"|")[-1].decode())
            for each in leases
        ]
        return requests.report(self._scene.names, self._scene.offset, outcomes)

    # -- requests over a line without faults --------------------------------

    def fetch(self, idle: int) -> list[Lease]:
        [reply] = self._scene.send(self.fetch_request(idle))
        assert reply[0] == b"APPLIED", reply
        return self._receive(replies.fetch_reply(Turn(QUEUE, self.name, self.number), reply).leases)

    def reconcile(self) -> tuple[list[Lease], tuple[tuple[str, str], ...]]:
        """The leases that it lacked, and the pairs it does not own."""
        turn = self.turn()
        scene = self._scene
        reply = replies.reconcile_reply(
            turn, scene.send(requests.reconcile(scene.names, scene.offset, turn, list(self.held)))
        )
        return self._receive(reply.missing), reply.strays

    def _receive(self, leases: tuple[Lease, ...]) -> list[Lease]:
        self.held |= {(lease.stored_id, lease.token): lease for lease in leases}
        return list(leases)

    def start(self, lease: Lease) -> None:
        """Run a job; its effect is counted outside the server."""
        self._scene.ran[lease.stored_id] = self._scene.ran.get(lease.stored_id, 0) + 1

    def report(self, kind: OutcomeKind, *leases: Lease) -> bytes:
        """The answer, a character for each outcome."""
        if kind is OutcomeKind.RELEASE:
            self._scene.released |= {(each.stored_id, each.token) for each in leases}
        answer: bytes = self._scene.send(self.report_request(kind, *leases))
        for lease in leases:
            self.held.pop((lease.stored_id, lease.token), None)
        return answer

    def run(self, leases: list[Lease]) -> None:
        """Run jobs and report them."""
        for lease in leases:
            self.start(lease)
        assert self.report(OutcomeKind.SUCCEEDED, *leases) == b"1" * len(leases)

    def beat(self) -> None:
        scene = self._scene
        answer = scene.send(requests.beat(scene.names, scene.offset, self.turn()))
        assert answer[0] == b"APPLIED"

    def leave(self) -> bytes:
        scene = self._scene
        answer = scene.send(requests.leave(scene.names, scene.offset, self.turn()))
        verdict: bytes = answer[0]
        return verdict

    def settle(self) -> None:
        """Reconcile, and run what it owns."""
        _, strays = self.reconcile()
        for pair in strays:
            del self.held[pair]
        self.run(list(self.held.values()))
