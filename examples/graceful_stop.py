"""A stop lets running jobs end within a grace and gives the rest back unharmed."""

import threading
from datetime import timedelta

from spinach import Engine, MemoryBroker
from spinach_memory import MemoryStore

started, hurry = threading.Event(), threading.Event()
ran: list[str] = []


def encode(film: str) -> None:
    ran.append(film)
    started.set()
    hurry.wait(10)


server = MemoryStore()
leaving, staying = (Engine(MemoryBroker(server)) for _ in range(2))
for engine in (leaving, staying):
    engine.task(name="film.encode", max_retries=1)(encode)

leaving.schedule(encode, "long film")
leaving.schedule(encode, "short film")
leaving.start_workers(number=1, block=False, grace=timedelta(milliseconds=100))
assert started.wait(10)
leaving.stop_workers()  # in a process of its own, SIGTERM does the same
print(f"Stopped, although {ran} was not done; the jobs are back in their queue")

# One did not end within the grace and may run more than once, one had not begun.
hurry.set()
staying.start_workers(number=1, stop_when_queue_empty=True)
print(f"In the order in which they ran: {ran}")
assert ran[0] == "long film"
assert sorted(ran[1:]) == ["long film", "short film"]
