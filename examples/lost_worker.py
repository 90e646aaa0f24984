"""What becomes of the jobs of a worker process that dies in the middle of them."""

import threading
from datetime import timedelta

from spinach import Engine, MemoryBroker
from spinach.brokers.calls import Enrolment, FetchTurn
from spinach_memory import MemoryStore
from spinach_testing.clock import VirtualClock

mailed = threading.Event()
store, clock = MemoryStore(), VirtualClock()
spin = Engine(MemoryBroker(store, clock=clock))
spin.task(name="mail.send", max_retries=3)(mailed.set)
spin.task(name="card.charge")(lambda: None)  # at most once, the default
spin.schedule("mail.send")
spin.schedule("card.charge")

# Another process joins the queue, takes both jobs, and is never heard of again.
dead = MemoryBroker(store, clock=clock)
dead.bind(spin.namespace, owner="another process")
dead.join("spinach", "doomed", Enrolment(lease_ms=30_000))
(reply,) = dead.fetch([FetchTurn("spinach", "doomed", 1)], idle=2, extra=0, max_bytes=10_000)
print(f"A process died with {len(reply.leases)} jobs")

began = clock.now()
spin.start_workers(number=2, block=False)
while not spin.failed.list():
    clock.advance(timedelta(seconds=1))
    mailed.wait(0.01)
seconds = (clock.now() - began).total_seconds()
while not mailed.wait(0.01):
    clock.advance(timedelta(seconds=1))
spin.stop_workers()

print(f"After {seconds:.0f} s the mail was sent after all, since it may be sent twice,")
(entry,) = spin.failed.list()
print(f"and the charge is in the failed store: {entry.error}: {entry.message}")
assert entry.job.task_name == "card.charge"
assert seconds >= 30  # its lease was 30 s; another worker notices within 10 more
