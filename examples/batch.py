"""A thousand jobs in a few round trips instead of a thousand."""

import threading

from spinach import Batch, Engine, MemoryBroker
from spinach.exc import InvalidArgument

spin = Engine(MemoryBroker())
closed: set[int] = set()
lock = threading.Lock()  # tasks run on several threads at a time


@spin.task(name="account.close", max_retries=1)
def close_account(number: int) -> None:
    with lock:
        closed.add(number)


batch = Batch()
for number in range(1000):
    batch.schedule(close_account, number)
jobs = spin.schedule_batch(batch)

print(f"{len(jobs)} jobs scheduled, the first is {jobs[0].id}")
assert [job.task_args for job in jobs] == [(number,) for number in range(1000)]

# A batch runs once; it cannot be sent a second time by mistake.
try:
    spin.schedule_batch(batch)
except InvalidArgument as error:
    print(f"Refused: {error}")
else:
    raise AssertionError("the batch was sent twice")

spin.start_workers(number=10, stop_when_queue_empty=True)
print(f"{len(closed)} accounts closed")
assert closed == set(range(1000))
