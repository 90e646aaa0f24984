"""Fidelity: the bytes of a record come back as they went in, whatever the way."""

from __future__ import annotations

import random

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, once
from ..invariants import holds
from ..lab import Lab

#: Payloads that a careless broker decodes, trims, cuts or writes anew.
PAYLOADS = (
    b"",
    b"\n",
    b"\r\n\r\n",
    b" leading and trailing ",
    b"\x00",
    b"before\x00after",
    bytes(range(256)),
    b"\xff\xfe\xfd not utf-8",
    "é ü ß 漢字 🥬".encode(),
    "𝄞".encode("utf-16"),
    b"$-1\r\n*3\r\n:1\r\n",
    b"|||1|0|-|other|task\n",
    b"-0",
    b"0x10",
    b"1e400",
    b"NaN",
    b"null",
    b"false",
    b'{"a":1.0,"a":1}',
    b'[9007199254740993,1e2,-0.0,"\\u00e9","\\/"]',
    b"[[],{},0]   ",
)


def noise(seed: int, size: int) -> bytes:
    """Bytes without any order, the same at each run."""
    return random.Random(seed).randbytes(size)


class FidelityBehaviour(BrokerBehaviour):
    """Records on their ways through the store."""

    @holds("I18")
    def test_records_come_back_byte_for_byte(self, lab: Lab) -> None:
        jobs = [deposit(payload=payload) for payload in PAYLOADS]
        jobs += [deposit(payload=noise(seed, 1 + seed * 17)) for seed in range(50)]
        lab.enqueue(*jobs)
        leases = lab.process().take(idle=len(jobs))
        assert [lease.record for lease in leases] == [job.record for job in jobs]

    @holds("I18")
    def test_records_survive_the_wait_for_their_instant(self, lab: Lab) -> None:
        jobs = [deposit(payload=payload, due_ms=lab.now_ms() + 60_000) for payload in PAYLOADS]
        lab.enqueue(*jobs)
        process = lab.process()
        lab.live_until_due(process)
        leases = process.take(idle=len(jobs))
        assert {lease.stored_id: lease.record for lease in leases} == {
            job.stored_id: job.record for job in jobs
        }

    @holds("I18")
    def test_records_survive_retry_release_and_park(self, lab: Lab) -> None:
        jobs = [deposit(payload=payload) for payload in PAYLOADS]
        expected = {job.stored_id: job.record for job in jobs}
        lab.enqueue(*jobs)
        process = lab.process()
        process.retry(*process.take(idle=len(jobs)))
        lab.promote()
        process.release(*process.take(idle=len(jobs)))
        process.park(*process.take(idle=len(jobs)))
        leases = process.take(idle=len(jobs), parks=["letters.send"])
        assert {lease.stored_id: lease.record for lease in leases} == expected
        missing = process.reconcile([]).missing
        assert {lease.stored_id: lease.record for lease in missing} == expected

    @holds("I18")
    def test_records_survive_the_failed_store(self, lab: Lab) -> None:
        jobs = [deposit(payload=payload) for payload in PAYLOADS]
        expected = {job.stored_id: job.record for job in jobs}
        lab.enqueue(*jobs)
        process = lab.process()
        process.fail(*process.take(idle=len(jobs)))
        failed = lab.client.failed_jobs(QUEUE)
        assert {each.stored_id: each.record for each in failed} == expected
        lab.client.retry_failed(QUEUE, list(expected))
        leases = process.take(idle=len(jobs))
        assert {lease.stored_id: lease.record for lease in leases} == expected

    @holds("I18")
    def test_records_survive_recovery(self, lab: Lab) -> None:
        jobs = [(once if n % 2 else deposit)() for n in range(4)]
        jobs += [deposit(payload=payload) for payload in PAYLOADS]
        expected = {job.stored_id: job.record for job in jobs}
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=len(jobs))
        found = {lost.stored_id: lost.record for lost in lab.bury(doomed, survivor)}
        assert len(found) == 2
        lab.live_until_due(survivor)
        for lease in survivor.take(idle=len(jobs)):
            found[lease.stored_id] = lease.record
        assert found == expected

    @holds("I18")
    def test_large_record_comes_back_byte_for_byte(self, lab: Lab) -> None:
        job = deposit(payload=noise(7, 512 * 1024))
        lab.enqueue(job)
        assert lab.process().take_one().record == job.record
