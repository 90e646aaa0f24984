"""A task that ends early, since it was cancelled or takes too long; tested without waiting."""

from datetime import timedelta

from spinach import JobCancelled, JobStatus, Tasks, current_job

tasks = Tasks()


@tasks.task(name="film.render", time_limit=timedelta(hours=1))
def render_film(length: int) -> None:
    for frame in range(length):
        current_job().check()
        render(frame)


def render(frame: int) -> None: ...


def test_cancel(spinach_engine, spinach_clock, spinach_jobs, spinach_worker, monkeypatch):
    def render_slowly(frame: int) -> None:
        spinach_clock.sleep(timedelta(minutes=1))
        if frame == 3:
            spinach_engine.jobs.cancel(job)
            spinach_clock.sleep(timedelta(seconds=10))  # It hears of it with the next beat.
        assert frame <= 3

    spinach_engine.attach_tasks(tasks)
    monkeypatch.setitem(globals(), "render", render_slowly)
    job = tasks.schedule(render_film, 10)
    spinach_worker.drain()
    assert spinach_jobs.one().status is JobStatus.CANCELLED


def test_time_limit(spinach_engine, spinach_clock, spinach_jobs, spinach_worker, monkeypatch):
    spinach_engine.attach_tasks(tasks)
    monkeypatch.setitem(globals(), "render", lambda _: spinach_clock.sleep(timedelta(minutes=1)))
    tasks.schedule(render_film, 100)
    with spinach_jobs.expect_failure(render_film, JobCancelled):
        spinach_worker.drain()
