"""What a worker makes of what a task does: outcomes, retries, signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spinach import AbortException, Engine, JobStatus, RetryException, Tasks, signals
from spinach.const import MAX_ERROR_BYTES
from spinach.worker.worker import describe

from .support import Bench, Ear, Fixed, engine_threads, wait_for


class Script:
    """A task that does what its script says, one line an attempt."""

    def __init__(self, *lines: BaseException | None) -> None:
        self.lines = list(lines)
        self.ran_at: list[datetime] = []
        self.clock: Any = None

    def __call__(self) -> None:
        self.ran_at.append(self.clock.now())
        line = self.lines.pop(0)
        if line is not None:
            raise line


def start(
    bench: Bench, script: Script, *, max_retries: int = 0, fraction: float = 1.0, number: int = 1
) -> Engine:
    tasks = Tasks()
    tasks.add(script, "script", max_retries=max_retries)
    script.clock = bench.clock
    engine = bench.engine(tasks, random_source=Fixed(fraction))
    engine.schedule("script")
    engine.start_workers(number, block=False)
    bench.settle()
    return engine


def test_a_job_that_returns_has_succeeded_and_is_gone(bench: Bench) -> None:
    with Ear("bench") as ear:
        engine = start(bench, Script(None))
    assert ear.jobs == [("job_started", "RUNNING"), ("job_finished", "SUCCEEDED")]
    counts = bench.counts(engine)
    assert (counts.unfinished, counts.failed, counts.enqueued) == (0, 0, 1)


def test_what_a_task_returns_is_of_no_interest(bench: Bench) -> None:
    tasks = Tasks()
    tasks.add(object, "object")
    engine = bench.engine(tasks)
    engine.schedule("object")
    with Ear("bench") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    assert ear.jobs[-1] == ("job_finished", "SUCCEEDED")


def test_a_job_without_retries_fails_at_once(bench: Bench) -> None:
    err = ValueError("broken")
    with Ear("bench") as ear:
        engine = start(bench, Script(err))
    assert ear.jobs == [
        ("job_started", "RUNNING"),
        ("job_failed", "FAILED"),
        ("job_finished", "FAILED"),
    ]
    assert ear.of("job_failed")[0]["err"] is err
    assert bench.counts(engine).failed == 1


def test_a_job_with_retries_waits_and_runs_again_until_it_succeeds(bench: Bench) -> None:
    script = Script(ValueError("one"), ValueError("two"), None)
    with Ear("bench") as ear:
        engine = start(bench, script, max_retries=5)
        assert bench.counts(engine).retrying == 1
        bench.advance(timedelta(seconds=6))
        bench.advance(timedelta(seconds=12))
    attempt = [("job_started", "RUNNING"), ("job_schedule_retry", "WAITING")]
    assert ear.jobs == [
        *attempt,
        ("job_finished", "WAITING"),
        *attempt,
        ("job_finished", "WAITING"),
        ("job_started", "RUNNING"),
        ("job_finished", "SUCCEEDED"),
    ]
    assert [kw["job"].attempt for kw in ear.of("job_started")] == [1, 2, 3]
    assert bench.counts(engine).unfinished == 0


def test_when_the_retries_are_used_up_the_job_fails(bench: Bench) -> None:
    script = Script(*[ValueError(str(n)) for n in range(3)])
    with Ear("bench") as ear:
        engine = start(bench, script, max_retries=2)
        bench.advance(timedelta(seconds=18))
    assert len(script.ran_at) == 3
    assert [name for name, _ in ear.jobs].count("job_schedule_retry") == 2
    (failed,) = ear.of("job_failed")
    assert (failed["job"].attempt, str(failed["err"])) == (3, "2")
    (entry,) = engine.failed.list()
    assert (entry.job.retries, entry.message) == (2, "2")


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_the_wait_is_the_backoffs_counted_from_the_failure(bench: Bench, fraction: float) -> None:
    script = Script(*[ValueError()] * 4, None)
    start(bench, script, max_retries=9, fraction=fraction)
    bench.advance(timedelta(seconds=100), step=timedelta(milliseconds=250))
    waits = [
        (later - earlier).total_seconds()
        for earlier, later in zip(script.ran_at, script.ran_at[1:], strict=False)
    ]
    assert waits == [most * (0.5 + fraction / 2) for most in (6, 12, 24, 48)]


@pytest.mark.parametrize("naive", [True, False])
def test_a_task_may_choose_the_instant_of_its_retry(bench: Bench, naive: bool) -> None:
    at = bench.clock.now() + timedelta(minutes=10)
    script = Script(RetryException("later", at=at.replace(tzinfo=None) if naive else at), None)
    start(bench, script, max_retries=1)
    bench.advance(timedelta(minutes=10) - timedelta(milliseconds=1), step=timedelta(seconds=5))
    assert len(script.ran_at) == 1
    bench.advance(timedelta(milliseconds=1))
    assert script.ran_at[1:] == [at]


def test_an_instant_in_the_past_means_now(bench: Bench) -> None:
    script = Script(RetryException(at=datetime(1999, 1, 1, tzinfo=UTC)), None)
    start(bench, script, max_retries=1)
    bench.settle()
    assert len(script.ran_at) == 2


def test_a_retry_without_an_instant_is_left_to_the_backoff(bench: Bench) -> None:
    script = Script(RetryException("later"), None)
    start(bench, script, max_retries=1)
    bench.advance(timedelta(seconds=5))
    assert len(script.ran_at) == 1
    bench.advance(timedelta(seconds=1))
    assert len(script.ran_at) == 2


def test_asking_for_a_retry_never_exceeds_max_retries(bench: Bench) -> None:
    script = Script(*[RetryException("again", at=datetime(1999, 1, 1, tzinfo=UTC))] * 3)
    with Ear("bench") as ear:
        engine = start(bench, script, max_retries=2)
        bench.settle()
    assert len(script.ran_at) == 3
    assert ear.jobs[-2:] == [("job_failed", "FAILED"), ("job_finished", "FAILED")]
    assert engine.failed.list()[0].error == "spinach.exc.RetryException"


def test_aborting_fails_whatever_retries_are_left(bench: Bench) -> None:
    with Ear("bench") as ear:
        engine = start(bench, Script(AbortException("no")), max_retries=99)
    assert ear.jobs[1:] == [("job_failed", "FAILED"), ("job_finished", "FAILED")]
    assert bench.counts(engine).retrying == 0
    assert engine.failed.list()[0].message == "no"


@pytest.mark.parametrize(
    "err", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("base")], ids=repr
)
def test_whatever_a_task_raises_the_job_fails_and_the_thread_goes_on(
    bench: Bench, err: BaseException
) -> None:
    script = Script(err, None)
    with Ear("bench") as ear:
        engine = start(bench, script)
        engine.schedule("script")
        bench.settle()
    assert len(script.ran_at) == 2
    assert ear.of("job_failed")[0]["err"] is err
    assert len(ear.of("worker_started")) == 1
    assert ear.of("worker_terminated") == []


@pytest.mark.parametrize("signal", ["job_started", "job_finished", "job_failed"])
def test_a_receiver_that_raises_harms_nothing(
    bench: Bench, signal: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(namespace: str, **kwargs: Any) -> None:
        raise RuntimeError("bad receiver")

    script = Script(ValueError(), None)
    with getattr(signals, signal).connected_to(fails, sender="bench"):
        engine = start(bench, script)
        engine.schedule("script")
        bench.settle()
    assert len(script.ran_at) == 2
    assert bench.counts(engine).failed == 1
    errors = [r for r in caplog.records if r.name == "spinach.signals"]
    assert errors
    assert signal in errors[0].getMessage()


def test_signals_are_sent_in_the_worker_thread_with_the_namespace(bench: Bench) -> None:
    threads: list[tuple[str, str]] = []

    def receive(namespace: str, **kwargs: Any) -> None:
        threads.append((namespace, threading.current_thread().name))

    with signals.job_started.connected_to(receive), signals.job_finished.connected_to(receive):
        start(bench, Script(None))
    assert threads == [("bench", "bench-worker-1")] * 2


def test_workers_tell_of_their_beginning_and_end(bench: Bench) -> None:
    with Ear("bench") as ear:
        engine = start(bench, Script(None), number=3)
        engine.stop_workers()
    names = {f"bench-worker-{number}" for number in (1, 2, 3)}
    assert {kw["worker_name"] for kw in ear.of("worker_started")} == names
    assert {kw["worker_name"] for kw in ear.of("worker_terminated")} == names
    assert ear.heard[-1][0] == "worker_terminated"


def test_signals_of_one_engine_never_reach_a_receiver_of_another(bench: Bench) -> None:
    tasks = Tasks()
    tasks.add(lambda: None, "nothing")
    one = bench.engine(tasks, namespace="one")
    two = bench.engine(tasks, namespace="two")
    with Ear("one") as first, Ear("two") as second:
        one.schedule("nothing")
        one.start_workers(2, stop_when_queue_empty=True)
        assert second.heard == []
        count = len(first.heard)
        two.schedule("nothing")
        two.start_workers(2, stop_when_queue_empty=True)
    assert len(first.heard) == count == 6
    assert {kwargs["namespace"] for _, kwargs in second.heard} == {"two"}


def test_the_job_that_signals_show_has_its_arguments(bench: Bench) -> None:
    tasks = Tasks()
    tasks.add(lambda *args, **kwargs: None, "note")
    engine = bench.engine(tasks)
    job = engine.schedule("note", 1, key="value")
    with Ear("bench") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    seen = ear.of("job_finished")[0]["job"]
    assert (seen.id, seen.task_args, seen.task_kwargs) == (job.id, (1,), {"key": "value"})


def test_a_receiver_that_connects_while_a_job_runs_hears_its_end(bench: Bench) -> None:
    begun, go_on, heard = threading.Event(), threading.Event(), threading.Event()
    tasks = Tasks()

    @tasks.task(name="slow")
    def slow() -> None:
        begun.set()
        wait_for(go_on)

    def receive(namespace: str, job: Any) -> None:
        assert job.status is JobStatus.SUCCEEDED
        heard.set()

    engine = bench.engine(tasks)
    engine.schedule("slow")
    engine.start_workers(1, block=False)
    wait_for(begun)
    with signals.job_finished.connected_to(receive, sender="bench"):
        go_on.set()
        wait_for(heard, "the signal")


def test_an_idle_worker_does_not_keep_the_last_arguments_alive(bench: Bench) -> None:
    import gc
    import weakref

    class Precious(list[int]):
        pass

    kept: list[weakref.ref[Precious]] = []
    tasks = Tasks()

    @tasks.task(name="hold")
    def hold() -> None:
        precious = Precious()
        kept.append(weakref.ref(precious))

    engine = bench.engine(tasks)
    engine.schedule("hold")
    engine.start_workers(1, block=False)
    bench.settle()
    gc.collect()
    assert kept[0]() is None


def test_a_payload_that_cannot_be_read_fails_the_job_and_harms_nothing(bench: Bench) -> None:
    from spinach.brokers.calls import Deposit

    tasks = Tasks()
    tasks.add(lambda: None, "note")
    engine = bench.engine(tasks)
    job_id = "00000000-0000-0000-0000-000000000001"
    bench.brokers[engine].enqueue([Deposit("spinach", f"0{job_id}", b"1|0|-|spinach|note\n[")])
    engine.schedule("note")
    engine.start_workers(1, stop_when_queue_empty=True)
    counts = bench.counts(engine)
    assert (counts.unfinished, counts.failed) == (0, 1)


class TestDescribe:
    """An exception as the failed store keeps it."""

    @staticmethod
    def caught(raise_: Callable[[], Any]) -> BaseException:
        try:
            raise_()
        except BaseException as exc:
            return exc
        raise AssertionError("nothing was raised")

    def test_it_names_the_class_with_its_module(self) -> None:
        failure = describe(self.caught(lambda: list[int]()[1]))
        assert (failure.error, failure.message) == (
            "builtins.IndexError",
            "list index out of range",
        )

    def test_it_is_cut_where_it_is_too_long_and_keeps_the_end_of_the_traceback(self) -> None:
        def fails() -> None:
            raise ValueError("ä" * 100_000)

        failure = describe(self.caught(fails))
        size = len(failure.message.encode()) + len(failure.traceback.encode())
        assert size <= MAX_ERROR_BYTES
        assert failure.message.startswith("ää")
        assert failure.traceback.endswith("ää\n")

    def test_an_exception_whose_text_raises_loses_nothing(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        failure = describe(self.caught(lambda: (_ for _ in ()).throw(Broken())))
        assert "Broken" in failure.error
        assert "unprintable" in failure.message

    def test_half_a_surrogate_pair_can_be_stored(self) -> None:
        describe(ValueError("\ud800")).message.encode()


def test_no_thread_outlives_its_engine(bench: Bench) -> None:
    engine = start(bench, Script(None), number=4)
    assert len(engine_threads("bench")) == 7
    engine.stop_workers()
    assert engine_threads("bench") == []


@pytest.mark.parametrize("chosen", [timedelta(minutes=10), timedelta(days=-1), None])
def test_the_job_that_will_be_retried_tells_when_and_what_was_spent(
    bench: Bench, chosen: timedelta | None
) -> None:
    now = bench.clock.now()
    at = now + timedelta(seconds=6) if chosen is None else now + chosen
    script = Script(RetryException("later", at=None if chosen is None else at), ValueError(), None)
    with Ear("bench") as ear:
        start(bench, script, max_retries=2)
        bench.advance(timedelta(minutes=20))
    told = [kw["job"] for name in ("job_schedule_retry", "job_finished") for kw in ear.of(name)[:1]]
    assert [(job.at, job.at.tzinfo) for job in told] == [(at, UTC)] * 2
    assert [(job.retries, job.attempt, job.status) for job in told] == [
        (1, 2, JobStatus.WAITING)
    ] * 2
    assert [kw["job"].attempt for kw in ear.of("job_started")] == [1, 2, 3]
    second = ear.of("job_schedule_retry")[1]["job"]
    assert (second.retries, second.at) == (2, script.ran_at[1] + timedelta(seconds=12))


def test_logs_of_a_retry_count_the_attempt_that_failed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    start(bench, Script(ValueError()), max_retries=2)
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "attempt 1" in record.getMessage()
    assert record.attempt == 1  # type: ignore[attr-defined]
