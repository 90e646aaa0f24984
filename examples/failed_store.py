"""Jobs that ended in failure wait in the failed store: look, run again, or forget."""

from spinach import Engine, MemoryBroker

spin = Engine(MemoryBroker())
stock = {"tea": 5}
sold: list[str] = []


@spin.task(name="order.ship")
def ship(article: str) -> None:
    stock[article] -= 1
    sold.append(article)


@spin.task(name="order.confirm", queue="letters")
def confirm(article: str) -> None:
    raise ConnectionError("no mail server")


spin.schedule(confirm, "tea")
spin.schedule(ship, "tea")
spin.schedule(ship, "coffee")
spin.start_workers(queue=("letters", "spinach"), stop_when_queue_empty=True)

# The newest first, of all queues.
for entry in spin.failed.list():
    print(f"{entry.job.task_name} in {entry.job.queue}: {entry.error}: {entry.message}")
[coffee] = spin.failed.list("spinach")
assert "stock[article] -= 1" in coffee.traceback

# The coffee has arrived; of what is left, however much it is, nobody needs anything.
stock["coffee"] = 3
assert spin.failed.retry(coffee.job) == 1
for entry in spin.failed.iterate():
    assert spin.failed.discard(entry.job) == 1
spin.start_workers(stop_when_queue_empty=True)
print(f"Sold in the end: {sold}, left in the failed store: {spin.failed.list()}")
assert sold == ["tea", "coffee"]
assert spin.failed.list() == []
