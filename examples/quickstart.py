"""Define tasks, schedule jobs, let five worker threads run them."""

from spinach import Engine, MemoryBroker, Tasks

tasks = Tasks()
totals: dict[str, int] = {}


@tasks.task(name="orders.total", max_retries=3)
def add_up(customer: str, prices: list[int]) -> None:
    totals[customer] = sum(prices)
    # In one write: print() alone sends the line break after the text, and threads mix them up.
    print(f"{customer} pays {totals[customer]}\n", end="")


spin = Engine(MemoryBroker())  # in production: RedisBroker()
spin.attach_tasks(tasks)

job = spin.schedule(add_up, "ada", [3, 4, 5])
print(f"Scheduled {job.task_name}, {job.status.name}, in queue {job.queue}")
spin.schedule(add_up, "bob", prices=[10, 20])
spin.schedule("orders.total", "cleo", [7])

# Five threads run the three jobs; the call returns when nothing is left to do.
spin.start_workers(number=5, stop_when_queue_empty=True)

print(f"All done: {dict(sorted(totals.items()))}")
assert totals == {"ada": 12, "bob": 30, "cleo": 7}
