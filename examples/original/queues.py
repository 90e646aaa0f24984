"""The classic program about queues: slow tasks must not stand in the way of fast ones."""

import time

from spinach import Engine, MemoryBroker, Tasks

tasks = Tasks()


@tasks.task(name="fast", queue="high-priority")
def fast():
    time.sleep(0.01)
    print("fast")


@tasks.task(name="slow", queue="low-priority")
def slow():
    time.sleep(0.05)
    print("slow")


spin = Engine(MemoryBroker())
spin.attach_tasks(tasks)

tasks.schedule(slow)
tasks.schedule(fast)

spin.start_workers(number=1, queue="high-priority", stop_when_queue_empty=True)
spin.start_workers(number=1, queue="low-priority", stop_when_queue_empty=True)
