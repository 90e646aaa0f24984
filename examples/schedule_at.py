"""Jobs for the future start at their instant or shortly after, and never before it."""

import threading
from datetime import UTC, datetime, timedelta

from spinach import Engine, JobStatus, MemoryBroker

spin = Engine(MemoryBroker())
reminded = threading.Event()
started: list[datetime] = []


@spin.task(name="meeting.remind")
def remind(who: str) -> None:
    started.append(datetime.now(UTC))
    print(f"{who}, your meeting starts\n", end="")  # in one write, since threads share the line
    reminded.set()


at = datetime.now(UTC) + timedelta(milliseconds=300)
job = spin.schedule_at(remind, at, "ada")
assert job.status is JobStatus.WAITING

# The past means now, and a datetime without a zone is taken for UTC.
late = spin.schedule_at(remind, datetime(2001, 1, 1), "bob")
assert late.status is JobStatus.QUEUED

# Jobs of the future do not keep workers that stop when there is nothing left to do.
spin.start_workers(stop_when_queue_empty=True)
assert len(started) == 1

reminded.clear()
spin.start_workers(block=False)
assert reminded.wait(10)
spin.stop_workers()

print(f"Started {(started[1] - at).total_seconds() * 1000:.1f} ms after its instant")
assert started[1] >= at
