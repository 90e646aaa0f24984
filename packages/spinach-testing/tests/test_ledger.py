"""What is noted of jobs, from the calls of a broker alone."""

from __future__ import annotations

import uuid

from spinach import JobStatus
from spinach.brokers.calls import Deposit, LostJob
from spinach.outcome import Lease
from spinach_testing.ledger import Ledger

QUEUE, MEMBER = "spinach", "member"


def lost(deposit: Deposit) -> LostJob:
    return LostJob(stored_id=deposit.stored_id, record=deposit.record, retries=1, losses=1)


def test_a_recovery_in_several_parts_is_noted_whole():
    ledger = Ledger()
    deposits = [
        Deposit(queue=QUEUE, stored_id=f"{kind}{uuid.uuid4()}", record=b"") for kind in "001"
    ]
    first, second, repeatable = deposits
    ledger.announce(deposits)
    ledger.leased(
        Lease(QUEUE, MEMBER, each.stored_id, token="t", direct=True, record=b"", retries=0)
        for each in deposits
    )

    ledger.recovered(MEMBER, [lost(first)], more=True)
    assert ledger.held_by(MEMBER) == 2
    ledger.recovered(MEMBER, [lost(second)])

    assert ledger.held_by(MEMBER) == 0
    statuses = {entry.stored_id: entry.status for entry in ledger.entries()}
    assert statuses == {
        first.stored_id: JobStatus.FAILED,
        second.stored_id: JobStatus.FAILED,
        repeatable.stored_id: JobStatus.WAITING,
    }


def test_a_lost_job_that_another_process_scheduled_is_noted():
    ledger = Ledger()
    ledger.recovered(MEMBER, [lost(Deposit(queue=QUEUE, stored_id="0a", record=b""))])
    assert [entry.status for entry in ledger.entries()] == [JobStatus.FAILED]
