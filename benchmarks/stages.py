"""Where a job's time goes in the worker: CPU time of each stage, one thread at a time.

`python -m benchmarks.stages` prints the least of several rounds, in µs a job. CPU time of
one thread depends little on what else the machine does. Contention between threads is
not in it: the sum is what a worker cannot get below, not what it reaches.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from spinach import Batch, Engine, RedisBroker, Tasks
from spinach.brokers.calls import Enrolment, FetchTurn
from spinach.const import DEFAULT_QUEUE, MAX_FETCH_BYTES
from spinach.record.header import read_header
from spinach.worker.buffer import LeasedJob
from spinach.worker.in_flight import InFlight
from spinach.worker.membership import Membership
from spinach.worker.prefetch import Prefetch
from spinach.worker.worker import Worker

from .server import private_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach.outcome import Outcome

#: Jobs of a round, as many as one fetch and one report carry.
COUNT = 1000

#: Rounds; the least counts.
ROUNDS = 12


class Stages:
    """CPU time by stage."""

    def __init__(self) -> None:
        self.least: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what the block does with all jobs of a round."""
        begin = time.thread_time()
        yield
        taken = 1e6 * (time.thread_time() - begin) / COUNT
        self.least[name] = min(taken, self.least.get(name, taken))


def measure(url: str) -> dict[str, float]:
    """Lead batches of jobs through their life, on this thread."""
    broker = RedisBroker.from_url(url)
    tasks = Tasks()
    tasks.add(_nothing, "nothing", max_retries=1)
    task = tasks.get("nothing")
    engine = Engine(broker, namespace="stages")
    engine.attach_tasks(tasks)
    member = Membership(DEFAULT_QUEUE, 30)
    broker.join(DEFAULT_QUEUE, member.member, Enrolment(lease_ms=30_000))
    member.renewed(broker.clock.monotonic())
    in_flight = InFlight(
        broker.clock,
        Prefetch(),
        wake_subscriber=_nothing,
        wake_arbiter=_nothing,
        wake_notifier=_nothing,
        hurry_notifier=_nothing,
    )
    worker = Worker(1, "worker", "stages", broker, in_flight, stopping=lambda: False)
    stages = Stages()
    for number in range(1, ROUNDS + 1):
        batch = Batch()
        for _ in range(COUNT):
            batch.schedule("nothing")
        with stages.stage("schedule a batch"):
            engine.schedule_batch(batch)
        with stages.stage("fetch"):
            [reply] = broker.fetch(
                [FetchTurn(DEFAULT_QUEUE, member.member, number)],
                idle=10,
                extra=COUNT - 10,
                max_bytes=MAX_FETCH_BYTES,
            )
        with stages.stage("hand over"):
            leased_jobs = []
            for lease in reply.leases:
                read_header(lease.record)
                leased_jobs.append(LeasedJob(lease, member, task))
            in_flight.put(leased_jobs)
        outcome: Outcome | None = None
        with stages.stage("run, and exchange the outcome for the next job"):
            for _ in range(COUNT - 1):
                work = in_flight.exchange(1, outcome)
                assert isinstance(work, LeasedJob)
                outcome = worker._execute(work)  # noqa: SLF001 - the stage, without its thread
        with stages.stage("report"):
            reported = broker.report(in_flight.collect((), COUNT))
        in_flight.answered(reported.verdicts)
        _finish_round(broker, in_flight, worker, outcome)
    broker.close()
    return stages.least


def _finish_round(
    broker: RedisBroker, in_flight: InFlight, worker: Worker, outcome: Outcome | None
) -> None:
    """The last two outcomes, which would otherwise meet an empty buffer and wait."""
    work = in_flight.exchange(1, outcome)
    assert isinstance(work, LeasedJob)
    in_flight.run_callback(_nothing)
    # An callback is what the thread gets instead of the next job.
    in_flight.exchange(1, worker._execute(work))  # noqa: SLF001 - as above
    in_flight.answered(broker.report(in_flight.collect((), COUNT)).verdicts)


def _nothing() -> None:
    return None


def main() -> None:
    """Print the stages."""
    with private_server() as server:
        least = measure(server.url)
    for name, taken in least.items():
        print(f"{taken:8.2f} µs  {name}")
    worker = sum(taken for name, taken in least.items() if name != "schedule a batch")
    print(f"{worker:8.2f} µs  a job in the worker, so at most {1e6 / worker:,.0f} jobs/s")


if __name__ == "__main__":
    main()
