"""A release that does not know a task puts the job aside for one that does."""

import threading

from spinach import Engine, MemoryBroker
from spinach_memory import MemoryStore

ran: list[str] = []
described = threading.Event()
server = MemoryStore()
old_release = Engine(MemoryBroker(server))
new_release = Engine(MemoryBroker(server))


def resize(photo: str) -> None:
    ran.append(f"resized {photo}")


def describe(photo: str) -> None:
    ran.append(f"described {photo}")
    described.set()


old_release.task(name="photo.resize")(resize)
new_release.task(name="photo.resize")(resize)
new_release.task(name="photo.describe")(describe)

# The new web server is up already, the workers are still the old ones.
new_release.schedule(describe, "cat.jpg")
new_release.schedule(resize, "cat.jpg")
old_release.start_workers(number=1, stop_when_queue_empty=True)
print(f"Old workers: {ran}, failed: {old_release.failed.list()}")
assert (ran, old_release.failed.list()) == (["resized cat.jpg"], [])

new_release.start_workers(number=1, block=False)
assert described.wait(10)
new_release.stop_workers()
print(f"New workers: {ran}")
