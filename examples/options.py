"""Options of single calls: a job that is not run too late, and headers that travel along."""

from datetime import UTC, datetime, timedelta
from typing import Any

from spinach import Engine, Job, JobStatus, MemoryBroker, signals

spin = Engine(MemoryBroker(), namespace="shop")
heard: list[str] = []


@spin.task(name="price.quote")
def quote(article: str) -> None:
    heard.append(f"quoted {article}")


@signals.job_started.connect_via(spin.namespace)
def on_start(namespace: str, job: Job, **_: Any) -> None:
    heard.append(f"request {job.headers.get('request')}")


@signals.job_expired.connect_via(spin.namespace)
def on_expired(namespace: str, job: Job, **_: Any) -> None:
    assert job.status is JobStatus.EXPIRED
    heard.append(f"too late for {job.task_args[0]}, request {job.headers['request']}")


# One scheduler for any number of jobs; a wrong argument is refused as by spin.schedule.
urgent = spin.options(expires_in=timedelta(seconds=30), headers={"request": "r-17"})
urgent.schedule(quote, "tea")

# This one was to start a minute ago, so it has expired.
urgent.schedule_at(quote, datetime.now(UTC) - timedelta(minutes=1), "milk")

spin.start_workers(number=1, stop_when_queue_empty=True)
print("\n".join(heard))
assert heard == ["request r-17", "quoted tea", "too late for milk, request r-17"]
assert spin.failed.list() == []
