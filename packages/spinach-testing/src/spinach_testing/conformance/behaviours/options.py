"""Options: jobs with headers, a time to expire or a result to keep are jobs like any other."""

from __future__ import annotations

import itertools

from spinach.outcome import OutcomeKind
from spinach.record.options import RecordOptions

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

LIMITED = "letters.print"

#: Each set of options that a job may have.
OPTIONS = tuple(
    RecordOptions(headers=headers, keep_ms=keep_ms, expires_ms=expires_ms)
    for headers, keep_ms, expires_ms in itertools.product(
        (None, {}, {"trace": "4f2a", "tenant": "Grüße"}), (None, 1, 60_000), (None, 0, 2**53)
    )
)


class OptionsBehaviour(BrokerBehaviour):
    """Records whose first line has flags, and whose payload ends with their options.

    Whether a job has expired is the worker's to find out: a broker hands out each, and is told.
    """

    @holds("I18")
    def test_records_with_options_come_back_byte_for_byte(self, lab: Lab) -> None:
        jobs = [deposit(options=options) for options in OPTIONS]
        expected = {job.stored_id: job.record for job in jobs}
        lab.enqueue(*jobs)
        process = lab.process()
        process.retry(*process.take(idle=len(jobs)))
        lab.promote()
        process.release(*process.take(idle=len(jobs)))
        process.park(*process.take(idle=len(jobs)))
        leases = process.take(idle=len(jobs), parks=["letters.send"])
        assert {lease.stored_id: lease.record for lease in leases} == expected
        process.fail(*leases)
        failed = lab.client.failed_jobs(QUEUE)
        assert {each.stored_id: each.record for each in failed} == expected

    @holds("I10")
    def test_jobs_with_options_occupy_the_slots_of_their_task(self, lab: Lab) -> None:
        jobs = [deposit(LIMITED, options=options) for options in OPTIONS]
        lab.enqueue(*jobs)
        processes = [lab.process(limits={LIMITED: 2}) for _ in range(2)]
        done: list[str] = []
        while leases := [lease for process in processes for lease in process.take(idle=3)]:
            assert len(leases) <= 2
            assert lab.counts().leased == len(leases)
            done += ids(leases)
            for process in processes:
                process.succeed(*(each for each in leases if each.member == process.member()))
        assert done == ids(jobs)

    @holds("I10")
    def test_job_with_options_frees_its_slot_however_it_ends(self, lab: Lab) -> None:
        options = RecordOptions(headers={"trace": "4f2a"}, expires_ms=1)
        process = lab.process(limits={LIMITED: 1})
        for kind in OutcomeKind:
            lab.enqueue(deposit(LIMITED, options=options), deposit(LIMITED))
            [lease] = process.take(idle=5)
            process.report(outcome(kind, lease))
            [following] = process.take(idle=5)
            process.succeed(following)
            lab.promote()
            while leases := process.take(idle=5):
                process.succeed(*leases)
            assert lab.counts().unfinished == 0, kind

    @holds("I3", "I11")
    def test_jobs_with_options_are_recovered_by_the_retries_they_allow(self, lab: Lab) -> None:
        once, last, more = (
            [deposit(max_retries=retries, options=each) for each in OPTIONS[1:]]
            for retries in (0, 1, 2)
        )
        jobs = [*once, *last, *more]
        lab.enqueue(*last, *more)
        survivor = lab.process()
        survivor.retry(*survivor.take(idle=len(jobs)))
        lab.promote()
        lab.enqueue(*once)
        doomed = lab.process()
        assert len(doomed.take(idle=len(jobs))) == len(jobs)
        lost = lab.bury(doomed, survivor)
        # What ran its last attempt may not run again, nor what runs once.
        assert sorted(ids(lost)) == sorted(ids([*once, *last]))
        lab.live_until_due(survivor)
        again = survivor.take(idle=len(jobs))
        assert sorted(ids(again)) == sorted(ids(more))
        assert {lease.retries for lease in again} == {2}

    @holds("I9")
    def test_options_do_not_change_the_order_nor_who_gets_a_job(self, lab: Lab) -> None:
        jobs = [deposit(options=options) for options in OPTIONS]
        jobs += [deposit(max_retries=0, options=OPTIONS[-1]), deposit(options=OPTIONS[-1])]
        lab.enqueue(*jobs)
        process = lab.process()
        buffered = process.take(idle=1, extra=len(jobs))
        # The buffer ends before what runs at most once.
        assert ids(buffered) == ids(jobs[:-2])
        assert [lease.direct for lease in buffered] == [True] + [False] * (len(buffered) - 1)
        assert ids(process.take(idle=1, extra=len(jobs))) == ids(jobs[-2:])

    @holds("I1")
    def test_broker_hands_out_what_has_expired(self, lab: Lab) -> None:
        # Its own clock would be a second one, and the queue would have to be searched.
        job = deposit(options=RecordOptions(expires_ms=1))
        lab.enqueue(job)
        process = lab.process()
        lease = process.take_one()
        assert lease.record == job.record
        process.report(outcome(OutcomeKind.EXPIRED, lease))
        assert lab.counts().unfinished == 0
