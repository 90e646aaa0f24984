"""A periodic task needs no scheduler process: any worker of its queue fires it."""

import threading
import time
from datetime import timedelta

from spinach import Engine, MemoryBroker, Tasks

tasks = Tasks()
swept = threading.Event()


@tasks.task(name="cache.sweep", periodicity=timedelta(seconds=1))
def sweep_cache() -> None:
    print("Swept the cache")
    swept.set()


spin = Engine(MemoryBroker())
spin.attach_tasks(tasks)

began = time.monotonic()
spin.start_workers(number=1, block=False)
# The first run is one period after the task was first declared, not at once.
assert swept.wait(10)
spin.stop_workers()

print(f"First run after {time.monotonic() - began:.1f} s")
assert time.monotonic() - began >= 0.99
