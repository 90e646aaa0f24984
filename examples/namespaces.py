"""Production and staging on one server: each sees its own jobs and no others."""

from spinach import Engine, MemoryBroker, Tasks
from spinach_memory import MemoryStore

tasks = Tasks()
mailed: list[str] = []


@tasks.task(name="mail.send")
def send_mail(to: str) -> None:
    mailed.append(to)


server = MemoryStore()  # brokers that share a store are like processes that share a server
production = Engine(MemoryBroker(server), namespace="prod")
staging = Engine(MemoryBroker(server), namespace="stg")
production.attach_tasks(tasks)
staging.attach_tasks(tasks)

production.schedule(send_mail, "customer@example.org")
staging.schedule(send_mail, "tester@example.org")

staging.start_workers(stop_when_queue_empty=True)
print(f"After the workers of staging: {mailed}")
assert mailed == ["tester@example.org"]

production.start_workers(stop_when_queue_empty=True)
print(f"After those of production: {mailed}")
assert mailed == ["tester@example.org", "customer@example.org"]
