"""Test an application: real workers, a broker in memory, and a clock that the test turns."""

import threading
from datetime import UTC, datetime, timedelta

from spinach import Engine, JobStatus, MemoryBroker, Tasks
from spinach_testing.clock import VirtualClock

# The application, as a test would import it.
tasks = Tasks()
reminded = threading.Event()


@tasks.task(name="trial.remind", max_retries=2)
def remind(user: str) -> None:
    reminded.set()


spin = Engine(MemoryBroker(), namespace="app")
spin.attach_tasks(tasks)


# A test of it. It waits for no 30 days, and replaces nothing but the broker.
def test_a_trial_ends_with_a_reminder() -> None:
    clock = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
    with spin.using_broker(MemoryBroker(clock=clock)):
        job = spin.schedule_at(remind, clock.now() + timedelta(days=30), "ada")
        assert job.status is JobStatus.WAITING
        spin.start_workers(stop_when_queue_empty=True)
        assert not reminded.is_set()

        clock.advance(timedelta(days=30))
        spin.start_workers(block=False)
        assert reminded.wait(10)
        spin.stop_workers()


test_a_trial_ends_with_a_reminder()
print("Passed: no reminder before the 30 days were over, one after")
