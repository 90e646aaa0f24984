"""Hear of every job and worker of one engine, without touching the tasks."""

from typing import Any

from spinach import Engine, Job, MemoryBroker, signals

spin = Engine(MemoryBroker(), namespace="shop")
other = Engine(MemoryBroker(), namespace="blog")
heard: list[str] = []


@signals.job_started.connect_via(spin.namespace)
def on_start(namespace: str, job: Job, **_: Any) -> None:
    heard.append(f"{namespace}: {job.task_name} started, attempt {job.attempt}")


@signals.job_failed.connect_via(spin.namespace)
def on_failure(namespace: str, job: Job, err: BaseException, **_: Any) -> None:
    heard.append(f"{namespace}: {job.task_name} failed, {err}")


@signals.job_finished.connect_via(spin.namespace)
def on_end(namespace: str, job: Job, **_: Any) -> None:
    heard.append(f"{namespace}: {job.task_name} finished, {job.status.name}")


for engine in (spin, other):
    engine.task(name="stock.count")(lambda: 10 // 0)
    engine.schedule("stock.count")
    engine.start_workers(number=1, stop_when_queue_empty=True)

print("\n".join(heard))
assert heard == [
    "shop: stock.count started, attempt 1",
    "shop: stock.count failed, integer division or modulo by zero",
    "shop: stock.count finished, FAILED",
]
