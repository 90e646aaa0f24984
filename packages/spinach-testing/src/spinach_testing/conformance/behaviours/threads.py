"""Threads: all methods may be called at once, from any of them."""

from __future__ import annotations

import functools
import threading

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids, once, task_of
from ..invariants import holds
from ..lab import Lab
from ..process import Process, outcome

LIMITED = "letters.print"


class Gauge:
    """Counts what goes on at the same time, and remembers the most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def move(self, by: int) -> None:
        """Something began (1) or ended (-1)."""
        with self._lock:
            self._now += by
            self.most = max(self.most, self._now)


def work(process: Process, produced: threading.Event, gauge: Gauge | None = None) -> list[str]:
    """Do jobs, one or a few at a time, until no more can come; the ids of those done."""
    done: list[str] = []
    while True:
        last = produced.is_set()
        leases = process.take(idle=2, extra=2)
        if gauge is not None:
            for lease in leases:
                gauge.move(task_of(lease) == LIMITED)
            for lease in leases:
                gauge.move(-(task_of(lease) == LIMITED))
        process.succeed(*leases)
        done += ids(leases)
        if last and not leases:
            return done


class ThreadsBehaviour(BrokerBehaviour):
    """Several processes and threads at work at the same time."""

    @holds("I1", "I2", "I3")
    def test_each_job_is_done_once_by_many_processes(self, lab: Lab) -> None:
        batches = [[once() if n % 2 else deposit() for n in range(50)] for _ in range(4)]
        produced = threading.Event()
        workers = [
            lab.background(functools.partial(work, lab.process(), produced)) for _ in range(3)
        ]
        producers = [
            lab.background(functools.partial(lab.broker().enqueue, batch)) for batch in batches
        ]
        for producer in producers:
            producer.result()
        produced.set()
        done = [stored_id for worker in workers for stored_id in worker.result()]
        assert sorted(done) == sorted(job.stored_id for batch in batches for job in batch)
        assert lab.counts().unfinished == 0

    @holds("I2")
    def test_threads_of_one_process_share_a_broker(self, lab: Lab) -> None:
        batches = [[deposit() for _ in range(30)] for _ in range(4)]
        start = threading.Barrier(4)

        def produce(number: int) -> list[bool]:
            start.wait(timeout=10)
            return lab.client.enqueue(batches[number])

        calls = [lab.background(functools.partial(produce, number)) for number in range(4)]
        assert all(all(call.result()) for call in calls)
        taken = ids(lab.process().take(idle=120))
        for batch in batches:
            # Those of one call keep their order, whatever came in between.
            places = [taken.index(stored_id) for stored_id in ids(batch)]
            assert places == sorted(places)
        assert len(taken) == 120

    @holds("I10")
    def test_limit_holds_while_many_processes_work(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED if n % 3 else "free") for n in range(90)))
        produced, gauge = threading.Event(), Gauge()
        produced.set()
        workers = [
            functools.partial(work, lab.process(limits={LIMITED: 2}), produced, gauge)
            for _ in range(3)
        ]
        calls = [lab.background(worker) for worker in workers]
        done = [stored_id for call in calls for stored_id in call.result()]
        assert gauge.most <= 2
        # Threads that found all slots taken have ended; the rest is for the last one.
        done += work(lab.process(limits={LIMITED: 2}), produced, gauge)
        assert len(done) == len(set(done)) == 90
        assert gauge.most <= 2

    @holds("I5")
    def test_outcome_reported_by_several_threads_counts_once(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(20)))
        process = lab.process()
        leases = process.take(idle=20)
        start = threading.Barrier(3)

        def release() -> int:
            start.wait(timeout=10)
            verdicts = [process.report(outcome(OutcomeKind.RELEASE, lease))[0] for lease in leases]
            return sum(verdict is Verdict.APPLIED for verdict in verdicts)

        calls = [lab.background(release) for _ in range(3)]
        assert sum(call.result() for call in calls) == 20
        assert lab.counts().ready == 20
