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


queues = ("spinach", "letters")
for article in ("tea", "coffee", "cofee"):
    spin.schedule(ship, article)
spin.schedule(confirm, "tea")
spin.start_workers(queue=queues, stop_when_queue_empty=True)

# The newest first, of all queues.
entries = {entry.job.task_args[0]: entry for entry in spin.failed.list()}
for article, entry in sorted(entries.items()):
    print(f"{article} in {entry.job.queue}: {entry.error}: {entry.message}")
assert "stock[article] -= 1" in entries["coffee"].traceback
assert set(entries) == {"coffee", "cofee", "tea"}

# The coffee has arrived, and the misspelt order is nothing to keep.
stock["coffee"] = 3
assert spin.failed.retry(entries["coffee"].job) == 1
assert spin.failed.discard(entries["cofee"].job) == 1
spin.start_workers(queue=queues, stop_when_queue_empty=True)
print(f"Sold in the end: {sorted(sold)}")
assert sorted(sold) == ["coffee", "tea"]

# However many are left: walk through them, and forget what nobody needs any more.
for entry in spin.failed.iterate():
    print(f"Forgotten: {entry.job.task_name} of {entry.failed_at:%Y-%m-%d}")
    spin.failed.discard(entry.job)
assert spin.failed.list() == []
