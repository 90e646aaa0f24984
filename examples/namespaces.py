"""Production and staging on one server: each sees its own jobs and no others."""

from spinach import Engine, MemoryBroker
from spinach_memory import MemoryStore

server = MemoryStore()  # brokers that share a store are like processes that share a server
mailed: list[str] = []


def application(namespace: str) -> Engine:
    spin = Engine(MemoryBroker(server), namespace=namespace)
    spin.task(name="mail.send")(mailed.append)
    return spin


production = application("prod")
staging = application("stg")

production.schedule("mail.send", "customer@example.org")
staging.schedule("mail.send", "tester@example.org")

staging.start_workers(stop_when_queue_empty=True)
print(f"After the workers of staging: {mailed}")
assert mailed == ["tester@example.org"]

production.start_workers(stop_when_queue_empty=True)
print(f"After those of production: {mailed}")
assert mailed == ["tester@example.org", "customer@example.org"]
