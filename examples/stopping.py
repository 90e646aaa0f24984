"""A long task makes way for a stop, and goes on elsewhere where it left off."""

import threading

from spinach import Engine, MemoryBroker, current_job
from spinach_memory import MemoryStore

done: dict[str, int] = {}  # in an application a row of its database
begun = threading.Event()


def encode(film: str) -> None:
    for minute in range(done.get(film, 0), 5):
        if current_job().should_stop:
            print(f"{film} makes way at minute {minute}, in attempt {current_job().attempt}")
            current_job().release()
        done[film] = minute + 1
        if minute == 2 and not begun.is_set():
            begun.set()
            while not current_job().should_stop:  # for this example: a stop comes here
                threading.Event().wait(0.001)
    print(f"{film} is done, in attempt {current_job().attempt}")


server = MemoryStore()
leaving, staying = (Engine(MemoryBroker(server)) for _ in range(2))
for engine in (leaving, staying):
    engine.task(name="film.encode", max_retries=1)(encode)

leaving.schedule(encode, "Metropolis")
leaving.start_workers(number=1, block=False)
assert begun.wait(10)
leaving.stop_workers()  # in a process of its own, SIGTERM does the same
assert done == {"Metropolis": 3}

staying.start_workers(number=1, stop_when_queue_empty=True)
assert done == {"Metropolis": 5}
