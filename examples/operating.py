"""A partner is down: pause its queue, look, and let it go on more slowly."""

import threading

from spinach import Batch, Engine, MemoryBroker

spin = Engine(MemoryBroker())
done = threading.Semaphore(0)


@spin.task(name="partner.call", queue="partner", max_retries=2)
def call_partner(order: int) -> None:
    done.release()


spin.start_workers(4, "partner", block=False)
spin.queues.pause("partner")  # in a shell, say; it holds for all processes

batch = Batch()
for order in range(20):
    batch.schedule(call_partner, order)
spin.schedule_batch(batch)

partner = spin.queues.get("partner")
print(f"{partner.ready} jobs wait, the first one for {partner.oldest_ready}")
assert (partner.paused, partner.ready, partner.leased) == (True, 20, 0)

[worker] = spin.workers.list()
print(f"process {worker.pid} has {worker.threads} threads and {worker.leased} jobs")

spin.limits.set("partner.call", 1)  # one call at a time, in place of four
spin.queues.resume("partner")
for _ in range(20):
    assert done.acquire(timeout=20)
spin.limits.set("partner.call", None)

spin.stop_workers()
print(f"{spin.queues.get('partner').unfinished} jobs are left")
