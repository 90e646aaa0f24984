"""Three ways for an attempt to fail: an error, a planned retry, the end of it."""

from datetime import UTC, datetime, timedelta

from spinach import AbortException, Backoff, Engine, MemoryBroker, RetryException

#: Short, so that this example need not wait; the default begins with 3 to 6 seconds.
SOON = Backoff(first=timedelta(milliseconds=20), cap=timedelta(seconds=1))

spin = Engine(MemoryBroker())
attempts: dict[str, int] = {}


@spin.task(name="report.fetch", max_retries=3, backoff=SOON)
def fetch_report(source: str) -> None:
    attempt = attempts[source] = attempts.get(source, 0) + 1
    print(f"{source}: attempt {attempt}\n", end="")  # in one write, since threads share the line
    if source == "flaky" and attempt < 3:
        raise ConnectionError("reset by peer")  # again after a backoff that grows
    if source == "busy" and attempt < 2:
        again = datetime.now(UTC) + timedelta(milliseconds=100)
        raise RetryException("it said when to come back", at=again)
    if source == "gone":
        raise AbortException("it will never be there again")


for source in ("flaky", "busy", "gone"):
    spin.schedule(fetch_report, source)
spin.start_workers(stop_when_queue_empty=True)  # a job that waits for a retry counts

(failed,) = spin.failed.list()
print(f"In the failed store: {failed.job.task_args}, {failed.message}")
assert attempts == {"flaky": 3, "busy": 2, "gone": 1}
assert failed.job.task_args == ("gone",)
