"""How fast jobs that do nothing go through the memory broker, beside a bare thread pool."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from spinach import Batch, Engine, MemoryBroker

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
THREADS = 10
spin = Engine(MemoryBroker())
for name, retries in (("at-least-once", 1), ("at-most-once", 0)):
    spin.task(name=name, max_retries=retries)(lambda: None)


def pool() -> None:
    with ThreadPoolExecutor(THREADS) as executor:
        for _ in range(JOBS):
            executor.submit(lambda: None)


def spinach(task: str) -> None:
    for first in range(0, JOBS, 10_000):
        batch = Batch()
        for _ in range(first, min(first + 10_000, JOBS)):
            batch.schedule(task)
        spin.schedule_batch(batch)
    spin.start_workers(THREADS, stop_when_queue_empty=True)


for name in 2 * ("ThreadPoolExecutor", "at-least-once", "at-most-once"):
    began = time.perf_counter()
    if name == "ThreadPoolExecutor":
        pool()
    else:
        spinach(name)
    print(f"{name}: {JOBS / (time.perf_counter() - began):,.0f} jobs/s, scheduled and run")
assert spin.failed.list() == []
