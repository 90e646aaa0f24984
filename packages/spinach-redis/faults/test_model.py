"""Memory and Redis do what the model says, whatever is asked of them in whatever order.

Hypothesis makes up calls of the broker contract and looks for the shortest sequence after
which a broker, or the keys on the server, differ from the model.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import seed as seeded
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from spinach.brokers.calls import (
    Deposit,
    Enrolment,
    FailedFilter,
    FailedPortion,
    FetchTurn,
    Turn,
    Verdict,
)
from spinach.brokers.operating import Purgeable
from spinach.const import WORKER_LOST
from spinach.outcome import OutcomeKind
from spinach.record.header import header_line
from spinach_testing.clock import VirtualClock

from ..tests.servers import Server, running_server
from .results import Record
from .scene import version_of
from .sides import (
    ERRORS,
    MemorySide,
    RedisSide,
    Side,
    portions_are_small,
    server_time_stands_still,
)

SECOND = timedelta(seconds=1)
LEASE_MS = 30_000
#: How long ends of jobs are kept; never over at a whole second, where the clock stands.
KEEP_MS = 40_500
QUEUES = ["letters", "entries"]
PROCESSES = ["ada", "bob", "cleo"]
AMPLE_BYTES = 1024 * 1024

Lease = tuple[str, int]

few = st.integers(0, 3)
#: Most happens in one queue: two that share little find less.
queues = st.sampled_from([QUEUES[0], QUEUES[0], QUEUES[1]])
processes = st.sampled_from(PROCESSES)
#: Past, now, and each side of a beat and of a lease.
spans_ms = st.sampled_from([-5_000, 0, 1, 999, 1_000, 10_000, 29_999, 30_000, 30_001, 90_000])
jobs = st.lists(
    st.tuples(
        queues,
        st.sampled_from(["limited", "limited", "plain"]),
        st.sampled_from([0, 1, 3]),
        st.none() | st.none() | spans_ms,
        st.integers(0, 300),
    ),
    min_size=1,
    max_size=5,
)
enrolments = st.builds(
    lambda limit, period_s: Enrolment(
        lease_ms=LEASE_MS,
        limits={"limited": limit} if limit else {},
        periodic={"tidy": period_s * 1000} if period_s else {},
    ),
    st.sampled_from([0, 1, 1, 2, 3]),
    st.sampled_from([0, 7, 60]),
)
ends = st.tuples(
    st.sampled_from([*OutcomeKind, OutcomeKind.RELEASE, OutcomeKind.SUCCEEDED]),
    st.sampled_from([0, 500, 4_000, 1, 10_001, -1_001]),
)


class Brokers(RuleBasedStateMachine):
    """Asks memory and Redis the same; `server` is set by the test."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        redis = RedisSide(self.clock, self.server)
        # Redis goes first: what it draws by chance, memory is told to draw.
        self.sides: list[Side] = [redis, MemorySide(self.clock, redis)]
        #: (process, queue) → member, last number, enrolment.
        self.members: dict[tuple[str, str], tuple[str, int, Enrolment]] = {}
        self.made = 0
        self.deposits: list[Deposit] = []
        #: Leases that any process ever received, the newest last.
        self.received: list[Lease] = []
        #: Members that left or were recovered.
        self.gone: list[tuple[str, str]] = []

    def teardown(self) -> None:
        for side in self.sides:
            side.close()

    # -- helpers -----------------------------------------------------------

    def new_id(self) -> str:
        self.made += 1
        return f"00000000-0000-4000-8000-{self.made:012}"

    def new_job(
        self, queue: str, task: str, max_retries: int, due_ms: int | None, size: int
    ) -> Deposit:
        flags = ("", "hx", "r")[size % 3]
        header = header_line(max_retries=max_retries, queue=queue, task=task, flags=flags)
        filler = b"x" * size
        record = header + (
            b'[["%b"],{},0,{"keep_ms":%d}]' % (filler, KEEP_MS) if flags == "r" else filler
        )
        kind = "1" if max_retries else "0"
        return Deposit(queue, kind + self.new_id(), record, due_ms)

    def now_ms(self) -> int:
        return self.sides[0].queue(QUEUES[0]).now_ms

    def turn(self, process: str, queue: str) -> Turn:
        """The next turn; of a process that is no member, one with a made-up name."""
        member, number, enrolment = self.members.get(
            (process, queue), (f"{process}-stranger", 0, Enrolment(lease_ms=LEASE_MS))
        )
        if (process, queue) in self.members:
            self.members[process, queue] = (member, number + 1, enrolment)
        return Turn(queue, member, number + 1)

    def leases(self, queue: str | None = None) -> list[Lease]:
        """Those in force, of one queue or of all."""
        return [
            (name, lease.serial)
            for name in ([queue] if queue else QUEUES)
            for lease in self.sides[0].queue(name).leases
        ]

    # -- calls -------------------------------------------------------------

    @initialize(enrolments=st.tuples(enrolments, enrolments, enrolments), jobs=jobs)
    def members_and_jobs(
        self,
        enrolments: tuple[Enrolment, ...],
        jobs: list[tuple[str, str, int, int | None, int]],
    ) -> None:
        """Two members in a queue, and one in the other, so that runs need not start empty."""
        for (process, queue), enrolment in zip(
            [("ada", QUEUES[0]), ("bob", QUEUES[0]), ("bob", QUEUES[1])], enrolments, strict=True
        ):
            self.join(process, queue, enrolment)
        self.enqueue(jobs)

    @rule(jobs=jobs)
    def enqueue(self, jobs: list[tuple[str, str, int, int | None, int]]) -> None:
        now_ms = self.now_ms()
        deposits = [
            self.new_job(queue, task, retries, None if ms is None else now_ms + ms, size)
            for queue, task, retries, ms, size in jobs
        ]
        self.deposits += deposits
        for side in self.sides:
            side.enqueue(deposits)

    @precondition(lambda self: self.deposits)
    @rule(which=st.integers(0))
    def enqueue_again(self, which: int) -> None:
        deposit = self.deposits[which % len(self.deposits)]
        # One that is over would be a new job: the brokers keep no list of what is over.
        assume(deposit.stored_id in self.sides[0].queue(deposit.queue).ids())
        for side in self.sides:
            side.enqueue([deposit])

    @rule(process=processes, queue=queues, enrolment=enrolments)
    def join(self, process: str, queue: str, enrolment: Enrolment) -> None:
        """Anew, or once more under the same name."""
        known = self.members.get((process, queue))
        if known is None:
            self.made += 1
            known = (f"{process}-{self.made}", 0, enrolment)
        member, number, enrolment = known
        [verdict] = {side.join(process, queue, member, enrolment) for side in self.sides}
        assert verdict is Verdict.APPLIED
        self.members[process, queue] = (member, number, enrolment)

    @rule(process=processes, queue=queues, enrolment=enrolments)
    def declare(self, process: str, queue: str, enrolment: Enrolment) -> None:
        """Other limits and periodic tasks, perhaps of a process that is no member."""
        turn = self.turn(process, queue)
        told = structs.replace(enrolment, number=turn.number)
        [verdict] = {side.join(process, queue, turn.member, told) for side in self.sides}
        if verdict is Verdict.APPLIED:
            self.members[process, queue] = (turn.member, turn.number, enrolment)

    @precondition(lambda self: self.members)
    @rule(which=st.integers(0), back=st.integers(0, 2), enrolment=enrolments)
    def late_copy_of_a_declaration(self, which: int, back: int, enrolment: Enrolment) -> None:
        (process, queue), (member, number, _) = list(self.members.items())[
            which % len(self.members)
        ]
        assume(number > back)
        late = structs.replace(enrolment, number=number - back)
        for side in self.sides:
            assert side.join(process, queue, member, late) in (Verdict.STALE, Verdict.FENCED)

    @rule(
        process=processes,
        names=st.sampled_from([QUEUES[:1], QUEUES[:1], QUEUES, QUEUES[::-1]]),
        idle=st.integers(0, 5),
        extra=few,
        parks=st.sampled_from([(), (), ("plain",), ("limited", "plain")]),
        waits=st.booleans(),
    )
    def fetch(
        self,
        process: str,
        names: list[str],
        idle: int,
        extra: int,
        parks: tuple[str, ...],
        waits: bool,
    ) -> None:
        """Out of parks only what finds a slot.

        Where a job stands that comes out of a park, finds no slot, and meets others that
        were given back, the contract leaves open.
        """
        turns = [self.turn(process, name) for name in names]
        known = [
            (t, tuple(p for p in parks if self.sides[0].queue(t.queue).has_slots_for(p)))
            for t in turns
        ]
        self.fetch_turns(process, known, idle, extra, AMPLE_BYTES, waits=waits)

    @rule(process=processes, queue=queues, idle=few, extra=few, most=st.integers(1, 900))
    def fetch_few_bytes(self, process: str, queue: str, idle: int, extra: int, most: int) -> None:
        self.fetch_turns(process, [(self.turn(process, queue), ())], idle, extra, most)

    def fetch_turns(
        self,
        process: str,
        turns: list[tuple[Turn, tuple[str, ...]]],
        idle: int,
        extra: int,
        most: int,
        *,
        waits: bool = False,
    ) -> None:
        asked = [FetchTurn(t.queue, t.member, t.number, parks) for t, parks in turns]
        given = [
            side.fetch(process, asked, idle=idle, extra=extra, max_bytes=most, waits=waits)
            for side in self.sides
        ]
        assert given[0] == given[1]
        self.received += given[0]

    @precondition(lambda self: self.members)
    @rule(which=st.integers(0), back=st.integers(0, 2))
    def late_copy_of_a_fetch(self, which: int, back: int) -> None:
        (process, queue), (member, number, _) = list(self.members.items())[
            which % len(self.members)
        ]
        turn = FetchTurn(queue, member, max(0, number - back))
        for side in self.sides:
            assert side.fetch(process, [turn], idle=3, extra=3, max_bytes=AMPLE_BYTES) == []

    @rule(process=processes)
    def beat(self, process: str) -> None:
        turns = [
            # Not the next number, which a beat does not take.
            Turn(queue, member, number)
            for (name, queue), (member, number, _) in self.members.items()
            if name == process
        ]
        for side in self.sides:
            side.beat(process, turns)

    @rule(process=processes, queue=queues, forgotten=few, foreign=few)
    def reconcile(self, process: str, queue: str, forgotten: int, foreign: int) -> None:
        """Claim all leases but the newest, and some that are not the member's."""
        turn = self.turn(process, queue)
        owned = [(queue, lease.serial) for lease in self.sides[0].queue(queue).owned(turn.member)]
        others = [each for each in self.received if each not in owned]
        held = owned[: max(0, len(owned) - forgotten)] + others[len(others) - foreign :]
        for side in self.sides:
            side.reconcile(process, turn, held)

    @rule(process=processes, queue=queues)
    def leave(self, process: str, queue: str) -> None:
        turn = self.turn(process, queue)
        [verdict] = {side.leave(process, turn) for side in self.sides}
        if verdict is Verdict.APPLIED:
            self.forget(queue, turn.member)

    def forget(self, queue: str, member: str) -> None:
        self.gone.append((queue, member))
        for key, (name, _, _) in list(self.members.items()):
            if key[1] == queue and name == member:
                del self.members[key]

    @precondition(lambda self: self.leases())
    @rule(process=processes, ends=st.lists(ends, min_size=1, max_size=4), first=st.integers(0))
    def report(self, process: str, ends: list[tuple[OutcomeKind, int]], first: int) -> None:
        """By whichever process, since a report carries no number."""
        leases = self.leases()
        chosen = [leases[(first + i) % len(leases)] for i in range(len(ends))]
        self.report_ends(process, list(zip(chosen, ends, strict=True)))

    def report_ends(self, process: str, ends: list[tuple[Lease, tuple[OutcomeKind, int]]]) -> None:
        told = [(lease, kind, ms) for lease, (kind, ms) in ends]
        for side in self.sides:
            side.report(process, told)

    @precondition(lambda self: self.received)
    @rule(process=processes, end=ends, which=st.integers(0))
    def report_what_may_be_over(
        self, process: str, end: tuple[OutcomeKind, int], which: int
    ) -> None:
        lease = self.received[which % len(self.received)]
        self.report_ends(process, [(lease, end), (lease, end)])

    @rule(process=processes, queue=queues, declares=st.booleans())
    def tick(self, process: str, queue: str, declares: bool) -> None:
        tasks = ("tidy", "unheard-of") if declares else ()
        [due] = {tuple(side.tick(process, queue, tasks)) for side in self.sides}
        for task, due_ms in due:
            for at_ms in (due_ms, due_ms):  # by two processes
                deposit = self.new_job(queue, task, 1, None, 10)
                for side in self.sides:
                    side.fire(process, queue, task, at_ms, deposit)

    @rule(process=processes, queue=queues, early_ms=st.sampled_from([-1_000, 0, 1, 7_000]))
    def fire_what_is_not_due(self, process: str, queue: str, early_ms: int) -> None:
        deposit = self.new_job(queue, "tidy", 1, None, 10)
        for side in self.sides:
            side.fire(process, queue, "tidy", self.now_ms() + early_ms, deposit)

    @precondition(lambda self: self.members)
    @rule(process=processes, which=st.integers(0))
    def recover(self, process: str, which: int) -> None:
        """Recover any member, dead or alive."""
        (_, queue), (member, _, _) = list(self.members.items())[which % len(self.members)]
        applied = [side.recover(process, queue, member) for side in self.sides]
        assert applied[0] == applied[1]
        if applied[0]:
            self.forget(queue, member)

    @precondition(lambda self: self.gone)
    @rule(process=processes, which=st.integers(0))
    def use_a_name_that_is_gone(self, process: str, which: int) -> None:
        queue, member = self.gone[which % len(self.gone)]
        for side in self.sides:
            assert not side.recover(process, queue, member)
            assert side.leave(process, Turn(queue, member, 1000)) is Verdict.FENCED
            turn = FetchTurn(queue, member, 1001)
            assert side.fetch(process, [turn], idle=1, extra=0, max_bytes=AMPLE_BYTES) == []

    @rule(queue=queues, which=st.lists(st.integers(0), max_size=3), run=st.booleans())
    def failed_store(self, queue: str, which: list[int], run: bool) -> None:
        failed = [each.job.stored_id for each in self.sides[0].queue(queue).failed]
        chosen = [failed[each % len(failed)] for each in which] if failed else ["1unknown"]
        for side in self.sides:
            (side.retry_failed if run else side.discard_failed)(queue, chosen)

    @rule(
        queue=queues,
        run=st.booleans(),
        task=st.sampled_from([None, None, "limited", "plain"]),
        error=st.sampled_from([None, None, *ERRORS, WORKER_LOST]),
        since_ms=st.sampled_from([None, None, 0, 10_000, 60_000]),
        until=few,
        after=st.none() | few,
        to_its_end=st.booleans(),
    )
    def take_failed_in_portions(
        self,
        queue: str,
        run: bool,
        task: str | None,
        error: str | None,
        since_ms: int | None,
        until: int,
        after: int | None,
        to_its_end: bool,
    ) -> None:
        """All that match, or one portion of them, as of a process that ended there."""
        places = [each.cursor for each in self.sides[0].queue(queue).failed]
        assume(places)
        matching = FailedFilter(
            task=task, error=error, since_ms=None if since_ms is None else self.now_ms() - since_ms
        )
        portion = FailedPortion(
            matching=matching,
            until=places[-1 - until % len(places)],
            after=None if after is None else places[after % len(places)],
        )
        while True:
            [place] = {side.take_portion(queue, portion, run=run) for side in self.sides}
            if place is None or not to_its_end:
                return
            portion = structs.replace(portion, after=place)

    @rule(
        queue=queues,
        status=st.sampled_from(["queued", "queued", "waiting", "failed"]),
        limit=st.sampled_from([1, 2, 5, 1000]),
    )
    def purge(self, queue: str, status: Purgeable, limit: int) -> None:
        """Which of several parks comes first the contract leaves open."""
        model = self.sides[0].queue(queue)
        if status == "queued" and len(model.parked) > 1:
            first = len(model.ready) + len(model.held)
            limit = 1000 if limit > first else limit
        for side in self.sides:
            side.purge(queue, status, limit)

    @rule(queue=queues, paused=st.sampled_from([True, False, False]))
    def pause_or_resume(self, queue: str, paused: bool) -> None:
        for side in self.sides:
            side.set_paused(queue, paused=paused)

    @rule(queue=queues, limit=st.sampled_from([None, 1, 2]))
    def set_limit(self, queue: str, limit: int | None) -> None:
        for side in self.sides:
            side.set_limit(queue, "limited", limit)

    @precondition(lambda self: self.deposits)
    @rule(which=st.lists(st.integers(0), min_size=1, max_size=4))
    def cancel(self, which: list[int]) -> None:
        chosen = [self.deposits[-1 - each % min(12, len(self.deposits))] for each in which]
        for queue in dict.fromkeys(each.queue for each in chosen):
            ids = [each.stored_id for each in chosen if each.queue == queue]
            for side in self.sides:
                side.cancel(queue, [*ids, "1unknown"])

    # -- time --------------------------------------------------------------

    # Whole seconds: within one the server may, to save writes, take over no sign of life.
    @rule(seconds=st.sampled_from([1, 4, 10, 15, 16, 30, 31]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds * SECOND)

    @precondition(lambda self: self.members)
    @rule(silent=processes)
    def live_on_without(self, silent: str) -> None:
        """Long enough that a silent process is dead, while the others beat."""
        for _ in range(4):
            self.clock.advance(10 * SECOND)
            for process in PROCESSES:
                if process != silent:
                    self.beat(process)

    @invariant()
    def places_are_equal(self) -> None:
        stored_ids = [each.stored_id for each in self.deposits]
        for side in self.sides:
            side.compare(QUEUES, stored_ids)


def test_memory_and_redis_do_what_the_model_says(
    rounds: Callable[..., int], full: bool, seed: int, record: Record
) -> None:
    examples = rounds(full=300, bounded=20)
    steps = 50 if full else 30

    with running_server() as own_server, server_time_stands_still(), portions_are_small():

        class Machine(Brokers):
            server = own_server

        seeded(seed)(Machine)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
        with own_server.client() as client:
            name = version_of(client)
    record(
        f"hypothesis stateful: memory and Redis against one model, {steps} steps",
        runs=examples,
        server=name,
    )
