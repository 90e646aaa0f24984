"""Jobs that ended in failure wait in the failed store: look, run again, or forget."""

from spinach import Engine, MemoryBroker

spin = Engine(MemoryBroker())
stock = {"tea": 5}
sold: list[str] = []


@spin.task(name="order.ship")
def ship(article: str) -> None:
    stock[article] -= 1
    sold.append(article)


for article in ("tea", "coffee", "cofee"):
    spin.schedule(ship, article)
spin.start_workers(stop_when_queue_empty=True)

entries = {entry.job.task_args[0]: entry for entry in spin.failed.list()}
for article, entry in sorted(entries.items()):
    print(f"{article}: {entry.error}: {entry.message}, at {entry.failed_at:%Y-%m-%d}")
    assert "stock[article] -= 1" in entry.traceback
assert set(entries) == {"coffee", "cofee"}

# The coffee has arrived, and the misspelt order is nothing to keep.
stock["coffee"] = 3
assert spin.failed.retry(entries["coffee"].job) == 1
assert spin.failed.discard(entries["cofee"].job) == 1
spin.start_workers(stop_when_queue_empty=True)

print(f"Sold in the end: {sorted(sold)}, left in the failed store: {spin.failed.list()}")
assert sorted(sold) == ["coffee", "tea"]
assert spin.failed.list() == []
