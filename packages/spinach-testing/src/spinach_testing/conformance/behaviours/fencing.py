"""Fencing: a number counts once, and a process that is no member gets nothing."""

from __future__ import annotations

from spinach.brokers.calls import FetchTurn, Turn, Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit
from ..invariants import holds
from ..lab import Lab


class FencingBehaviour(BrokerBehaviour):
    """The numbers of sequenced calls, and calls of strangers."""

    @holds("I6")
    def test_repeated_fetch_is_stale_and_takes_nothing(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        process = lab.process()
        turns = [FetchTurn(QUEUE, process.member(), 1)]
        [first] = process.broker.fetch(turns, idle=1, extra=0, max_bytes=10_000)
        assert (first.verdict, len(first.leases)) == (Verdict.APPLIED, 1)
        [second] = process.broker.fetch(turns, idle=1, extra=0, max_bytes=10_000)
        assert (second.verdict, second.leases) == (Verdict.STALE, ())
        assert (lab.counts().ready, lab.counts().leased) == (1, 1)

    @holds("I6")
    def test_number_below_the_last_one_is_stale(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        member = process.member()
        assert process.broker.reconcile(Turn(QUEUE, member, 7), []).verdict is Verdict.APPLIED
        for number in (7, 6, 1, 0):
            turn = Turn(QUEUE, member, number)
            fetch_turn = FetchTurn(QUEUE, member, number)
            [fetched] = process.broker.fetch([fetch_turn], idle=1, extra=1, max_bytes=10_000)
            assert (fetched.verdict, fetched.leases) == (Verdict.STALE, ())
            assert process.broker.reconcile(turn, []).verdict is Verdict.STALE
            assert process.broker.leave(turn).verdict is Verdict.STALE
        counts = lab.counts()
        assert (counts.ready, counts.leased, counts.members) == (1, 0, 1)

    @holds("I6")
    def test_first_number_is_above_zero(self, lab: Lab) -> None:
        process = lab.process()
        reply = process.broker.reconcile(Turn(QUEUE, process.member(), 0), [])
        assert reply.verdict is Verdict.STALE

    @holds("I6")
    def test_numbers_may_leave_gaps(self, lab: Lab) -> None:
        process = lab.process()
        for number in (1, 5, 1_000_000):
            turn = Turn(QUEUE, process.member(), number)
            assert process.broker.reconcile(turn, []).verdict is Verdict.APPLIED

    @holds("I6")
    def test_all_sequenced_calls_share_one_row_of_numbers(self, lab: Lab) -> None:
        process = lab.process()
        member = process.member()
        assert process.broker.reconcile(Turn(QUEUE, member, 3), []).verdict is Verdict.APPLIED
        assert process.broker.leave(Turn(QUEUE, member, 3)).verdict is Verdict.STALE
        [reply] = process.broker.fetch(
            [FetchTurn(QUEUE, member, 4)], idle=1, extra=0, max_bytes=1000
        )
        assert reply.verdict is Verdict.APPLIED
        assert process.broker.leave(Turn(QUEUE, member, 4)).verdict is Verdict.STALE

    @holds("I6", "I21")
    def test_memberships_have_numbers_of_their_own(self, lab: Lab) -> None:
        one, two = lab.process(QUEUE, "invoices"), lab.process()
        turns = [
            Turn(QUEUE, one.member(QUEUE), 9),
            Turn("invoices", one.member("invoices"), 1),
            Turn(QUEUE, two.member(QUEUE), 1),
        ]
        for turn in turns:
            assert one.broker.reconcile(turn, []).verdict is Verdict.APPLIED

    @holds("I6", "I11")
    def test_beat_is_never_stale_and_takes_no_number(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        member = process.member()
        assert process.broker.reconcile(Turn(QUEUE, member, 7), []).verdict is Verdict.APPLIED
        for number in (0, 1, 7, 7, 1_000_000):
            [reply] = process.broker.beat([Turn(QUEUE, member, number)])
            assert reply.verdict is Verdict.APPLIED
        [fetched] = process.broker.fetch(
            [FetchTurn(QUEUE, member, 8)], idle=1, extra=0, max_bytes=1000
        )
        assert (fetched.verdict, len(fetched.leases)) == (Verdict.APPLIED, 1)

    @holds("I5")
    def test_process_that_never_joined_is_fenced(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        stranger = lab.stranger()
        reply = stranger.fetch(idle=5, extra=5)
        assert (reply.verdict, reply.leases) == (Verdict.FENCED, ())
        assert stranger.beat().verdict is Verdict.FENCED
        assert stranger.reconcile().verdict is Verdict.FENCED
        assert stranger.leave().verdict is Verdict.FENCED
        counts = lab.counts()
        assert (counts.ready, counts.leased, counts.members) == (1, 0, 0)

    @holds("I5")
    def test_fenced_process_joins_under_a_new_name(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        fenced, survivor = lab.process(), lab.process()
        lab.bury(fenced, survivor)
        assert fenced.beat().verdict is Verdict.FENCED
        reborn = lab.stranger()
        reborn.join()
        assert len(reborn.take(idle=1)) == 1
