"""A task says how far it is, and anyone may look."""

import threading
from datetime import timedelta

from spinach import Engine, MemoryBroker, current_job

# A worker proves life three times a lease, and tells of the progress then. The default is 30 s.
spin = Engine(MemoryBroker(lease=timedelta(seconds=10)))
half, go_on = threading.Event(), threading.Event()


@spin.task(name="photos.resize")
def resize(photos: list[str]) -> None:
    for number, photo in enumerate(photos, start=1):
        current_job().progress(number, len(photos), note=photo)
        if number == len(photos) // 2:
            half.set()
            go_on.wait(20)


job = spin.schedule(resize, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
spin.start_workers(number=1, block=False)
assert half.wait(10)

view = spin.jobs.get(job)
while view is None or view.progress is None:
    threading.Event().wait(0.1)
    view = spin.jobs.get(job)
progress = view.progress
print(f"{job.task_name}: {progress.done} of {progress.total}, {progress.note}")
assert (progress.done, progress.total, progress.note) == (2, 4, "b.jpg")

go_on.set()
spin.stop_workers()
