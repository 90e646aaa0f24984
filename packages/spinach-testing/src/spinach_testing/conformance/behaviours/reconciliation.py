"""Reconciliation: after a lost reply, process and store agree on every lease."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from spinach.brokers.calls import Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids, once
from ..invariants import holds
from ..lab import Lab


class ReconciliationBehaviour(BrokerBehaviour):
    """`Broker.reconcile`."""

    @holds("I6")
    def test_nothing_held_and_nothing_owned_is_settled(self, lab: Lab) -> None:
        reply = lab.process().reconcile()
        assert (reply.verdict, reply.missing, reply.strays) == (Verdict.APPLIED, (), ())

    @holds("I6")
    def test_leases_of_a_lost_fetch_are_missing(self, lab: Lab) -> None:
        lab.enqueue(once(), deposit(), deposit())
        process = lab.process()
        lost = process.take(idle=2, extra=1)
        reply = process.reconcile([])
        assert reply.verdict is Verdict.APPLIED
        assert sorted(reply.missing, key=repr) == sorted(lost, key=repr)
        assert reply.strays == ()
        process.succeed(*reply.missing)

    @holds("I6")
    def test_leases_of_lost_fetches_are_missing_the_oldest_first(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(4)]
        lab.enqueue(*jobs)
        process = lab.process()
        process.take(idle=2)
        lab.advance(timedelta(seconds=1))
        process.take(idle=2)
        assert ids(process.reconcile([]).missing) == ids(jobs)

    @holds("I6")
    def test_leases_that_are_held_are_neither_missing_nor_strays(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit(), deposit())
        process = lab.process()
        held = process.take(idle=2)
        lost = process.take(idle=1)
        reply = process.reconcile(held)
        assert list(reply.missing) == lost
        assert reply.strays == ()

    @holds("I6")
    def test_lease_whose_outcome_was_applied_is_a_stray(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        process = lab.process()
        done, running = process.take(idle=2)
        process.succeed(done)
        reply = process.reconcile([done, running])
        assert reply.missing == ()
        assert reply.strays == ((done.stored_id, done.token),)

    @holds("I3", "I6")
    def test_leases_are_compared_by_token_and_not_by_job(self, lab: Lab) -> None:
        lab.enqueue(once())
        process = lab.process()
        old = process.take_one()
        process.release(old)
        new = process.take_one()
        reply = process.reconcile([old])
        assert reply.missing == (new,)
        assert reply.strays == ((old.stored_id, old.token),)

    @holds("I3", "I6")
    def test_reconciling_does_not_lease_anew(self, lab: Lab) -> None:
        lab.enqueue(once())
        process = lab.process()
        lease = process.take_one()
        for _ in range(3):
            assert process.reconcile([]).missing == (lease,)
        process.succeed(lease)
        assert process.reconcile([]).missing == ()

    @holds("I7")
    def test_reconciling_spends_no_attempt(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.retry(process.take_one())
        lab.promote()
        lease = process.take_one()
        [missing] = process.reconcile([]).missing
        assert (missing.retries, missing.losses, missing.direct) == (1, 0, True)
        process.release(lease)
        assert process.take_one().retries == 1

    @holds("I6")
    def test_leases_of_others_are_strays(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        process, other = lab.process(), lab.process()
        mine, foreign = process.take_one(), other.take_one()
        reply = process.reconcile([mine, foreign])
        assert reply.missing == ()
        assert reply.strays == ((foreign.stored_id, foreign.token),)
        other.succeed(foreign)

    @holds("I6")
    def test_made_up_pairs_are_strays(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        lease = process.take_one()
        forged = msgspec.structs.replace(lease, token=lease.token + "0")
        unknown = msgspec.structs.replace(lease, stored_id=deposit().stored_id)
        reply = process.reconcile([forged, lease, unknown])
        assert reply.missing == ()
        assert sorted(reply.strays) == sorted(
            [(forged.stored_id, forged.token), (unknown.stored_id, unknown.token)]
        )

    @holds("I6", "I21")
    def test_reconciling_concerns_one_queue(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit(queue="invoices"))
        process = lab.process("letters", "invoices")
        here, there = process.fetch_from(["letters", "invoices"], idle=2)
        assert process.reconcile([], "letters").missing == here.leases
        assert process.reconcile([], "invoices").missing == there.leases

    @holds("I6")
    def test_many_leases_are_settled_in_one_call(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(600)))
        process = lab.process()
        leases = process.take(idle=1, extra=599)
        held, done = leases[:300], leases[300:450]
        process.succeed(*done)
        reply = process.reconcile(held + done)
        assert {lease.token for lease in reply.missing} == {lease.token for lease in leases[450:]}
        assert len(reply.missing) == 150
        assert sorted(reply.strays) == sorted((each.stored_id, each.token) for each in done)
