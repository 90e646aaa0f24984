"""How fast jobs that do nothing go through the memory broker, beside a bare thread pool."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from spinach import Batch, Engine, MemoryBroker

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
THREADS = 10
spin = Engine(MemoryBroker())


@spin.task(name="nothing", max_retries=1)
def nothing() -> None:
    pass


def pool() -> None:
    with ThreadPoolExecutor(THREADS) as executor:
        for _ in range(JOBS):
            executor.submit(nothing)


def spinach() -> None:
    for first in range(0, JOBS, 10_000):
        batch = Batch()
        for _ in range(first, min(first + 10_000, JOBS)):
            batch.schedule(nothing)
        spin.schedule_batch(batch)
    spin.start_workers(THREADS, stop_when_queue_empty=True)


for run in (1, 2):
    for name, work in (("ThreadPoolExecutor", pool), ("Spinach, scheduled and run", spinach)):
        began = time.perf_counter()
        work()
        print(f"{run}. {name}: {JOBS / (time.perf_counter() - began):,.0f} jobs/s")
assert spin.failed.list() == []
