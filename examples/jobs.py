"""Where is my job? Take it back; wait for the others."""

from datetime import UTC, datetime, timedelta

from spinach import Engine, JobStatus, MemoryBroker, Tasks

tasks = Tasks()


@tasks.task(name="mail.send", max_retries=5)
def send_mail(to: str) -> None:
    """Send it."""


spin = Engine(MemoryBroker())
spin.attach_tasks(tasks)
tomorrow = datetime.now(UTC) + timedelta(days=1)
ada, bob = tasks.schedule(send_mail, "ada"), tasks.schedule(send_mail, "bob")
eve = tasks.schedule_at(send_mail, tomorrow, "eve")

view = spin.jobs.get(bob)
assert view is not None
print(view.status.name, "behind", view.ahead, "other")

waiting = spin.jobs.list("spinach", status=JobStatus.WAITING)
print([each.job.task_args for each in waiting.jobs if each.job])

print([verdict.name for verdict in spin.jobs.cancel(eve, ada)])

spin.start_workers(1, block=False)
print(spin.jobs.wait(ada, bob, eve, timeout=timedelta(seconds=30)))
spin.stop_workers()
print(spin.jobs.get(bob))
