"""At most two calls at a time to a service that allows two, however many threads."""

import threading
import time

from spinach import Batch, Engine, MemoryBroker

spin = Engine(MemoryBroker())
lock = threading.Lock()
calls = {"now": 0, "most": 0, "done": 0}


@spin.task(name="partner.call", max_retries=2, max_concurrency=2)
def call_partner(order: int) -> None:
    with lock:
        calls["now"] += 1
        calls["most"] = max(calls["most"], calls["now"])
    time.sleep(0.02)  # the partner thinks
    with lock:
        calls["now"] -= 1
        calls["done"] += 1


batch = Batch()
for order in range(20):
    batch.schedule(call_partner, order)
spin.schedule_batch(batch)

# The limit holds over all processes that consume the queue, not only for these threads.
spin.start_workers(number=8, stop_when_queue_empty=True)

print(f"{calls['done']} calls, never more than {calls['most']} at a time")
assert calls == {"now": 0, "most": 2, "done": 20}
