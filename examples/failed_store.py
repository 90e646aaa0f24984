"""Jobs that ended in failure wait in the failed store: look, run again, or forget."""

from datetime import timedelta

from spinach import Engine, FailedRetention, MemoryBroker

retention = FailedRetention(age=timedelta(days=90))  # a month is not enough for this shop
spin = Engine(MemoryBroker(failed_retention=retention))
stock = {"tea": 5}
sold: list[str] = []


@spin.task(name="order.ship")
def ship(article: str) -> None:
    stock[article] -= 1
    sold.append(article)


for ordered in ("tea", "coffee", "cocoa", "coffee"):
    spin.schedule(ship, ordered)
spin.start_workers(stop_when_queue_empty=True)

# The newest first, of all queues; a filter leaves some of them.
for entry in spin.failed.list():
    print(f"{entry.job.task_name}: {entry.error}: {entry.message}")
newest, cocoa, oldest = spin.failed.list(error=KeyError, since=timedelta(hours=1))
assert "stock[article] -= 1" in newest.traceback
assert spin.failed.get(newest.job.id) == newest

# The coffee has arrived, for all who wait.
stock["coffee"] = 3
assert spin.failed.retry_all("spinach", task=ship) == 3
spin.start_workers(stop_when_queue_empty=True)
print(f"Sold in the end: {sold}, and there is {stock}")

# Of what is left, however much it is, nobody needs anything.
assert spin.failed.discard_all(None) == 1
assert spin.failed.list() == []
