"""One way to meet each exception of Spinach: the smallest program that raises it.

A test runs every one of these and looks that none is missing; the error catalogue of the
documentation shows their code and their messages. Nothing here needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from spinach import AbortException, Batch, Engine, RetryException, Tasks, current_job, signals
from spinach.brokers.calls import Enrolment, FetchTurn
from spinach.clock import SystemClock
from spinach.exc import (
    BrokerError,
    BrokerFull,
    BrokerInUse,
    BrokerUnavailable,
    DuplicateTask,
    InvalidArgument,
    InvalidJobSignatureError,
    InvalidName,
    InvalidTask,
    JobCancelled,
    JobFailed,
    JobReleased,
    NestedCall,
    NoResult,
    NotInJob,
    PayloadTooLarge,
    ResultExpired,
    ResultTimeout,
    ScheduleUncertain,
    SpinachError,
    TasksNotAttached,
    UnknownQueue,
    UnknownTask,
    WaitInWorker,
    WaitTimeout,
    WorkerLost,
    WorkersRunning,
)
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.clock import VirtualClock

__all__ = ["CATALOGUE"]


def unknown_task() -> None:
    """Schedule a task that the engine has never heard of."""
    spin = Engine(MemoryBroker())
    spin.task(name="mail.send")(print)
    spin.schedule("mail.sned", "hello")


def a_wait_that_is_too_short() -> None:
    """Wait for a job while no worker runs."""
    spin = Engine(MemoryBroker())
    spin.task(name="report")(print)
    spin.jobs.wait(spin.schedule("report"), timeout=timedelta(seconds=0.05))


def a_worker_that_waits() -> None:
    """Wait for one job inside another one of the same engine."""
    refusals: list[WaitInWorker] = []
    spin = Engine(MemoryBroker())
    spin.task(name="part")(print)

    @spin.task(name="whole")
    def whole() -> None:
        try:
            spin.jobs.wait(spin.schedule("part"), timeout=timedelta(seconds=10))
        except WaitInWorker as error:
            refusals.append(error)

    spin.schedule(whole)
    spin.start_workers(1, stop_when_queue_empty=True)
    raise refusals[0]


def unknown_queue() -> None:
    """Pause a queue whose name is misspelled."""
    spin = Engine(MemoryBroker())
    spin.task(name="mail.send", queue="mail")(print)
    spin.queues.pause("mial")


def arguments_that_do_not_fit() -> None:
    """Schedule a task with an argument that it does not take."""
    spin = Engine(MemoryBroker())

    @spin.task(name="compute")
    def compute(a: int, b: int) -> int:
        return a + b

    spin.schedule("compute", 1, c=2)


def not_a_task() -> None:
    """Register a function that would run nothing."""
    tasks = Tasks()

    @tasks.task(name="fetch.page")
    async def fetch_page() -> None: ...


def a_name_twice() -> None:
    """Register two functions under one name."""
    tasks = Tasks()
    tasks.add(print, name="report")
    tasks.add(repr, name="report")


def a_bad_name() -> None:
    """Name a queue with a space in it."""
    Tasks(queue="high priority")


def an_argument_that_would_not_come_back() -> None:
    """Send a set, which JSON does not have."""
    spin = Engine(MemoryBroker())
    spin.task(name="tag")(print)
    spin.schedule("tag", {"labels": {"new", "urgent"}})


def too_much_to_send() -> None:
    """Send a document instead of a reference to it."""
    spin = Engine(MemoryBroker(max_payload_bytes=1000))
    spin.task(name="index")(print)
    spin.schedule("index", "word " * 1000)


def a_registry_alone() -> None:
    """Schedule through a registry that no engine knows."""
    tasks = Tasks()
    tasks.add(print, name="hello")
    tasks.schedule("hello")


def not_while_workers_run() -> None:
    """Start workers twice."""
    spin = Engine(MemoryBroker())
    spin.start_workers(1, block=False)
    try:
        spin.start_workers(1, block=False)
    finally:
        spin.stop_workers()


def a_look_in_the_middle_of_another_call() -> None:
    """Look at failed jobs where a signal handler might, in the middle of a `schedule`."""

    class Interrupting(SystemClock):
        def now(self) -> datetime:
            # Asked once before the store is, and once by it.
            if not readings:
                spin.failed.list("spinach")
            readings.pop()
            return super().now()

    readings = [1]
    spin = Engine(MemoryBroker(clock=Interrupting()))
    spin.task(name="nothing")(lambda: None)
    spin.schedule("nothing")


def one_broker_for_two_engines() -> None:
    """Give one broker to two engines."""
    broker = MemoryBroker()
    Engine(broker, namespace="shop")
    Engine(broker, namespace="blog")


class StubbornBroker(MemoryBroker):
    """A broker whose server is not in the mood."""

    def __init__(self, error: type[BrokerError], message: str) -> None:
        super().__init__()
        self._error = error
        self._message = message

    def enqueue(self, deposits: Any) -> NoReturn:
        """Refuse everything."""
        raise self._error(self._message)


def _schedule_on(error: type[BrokerError], message: str) -> None:
    spin = Engine(StubbornBroker(error, message))
    spin.task(name="hello")(print)
    spin.schedule("hello")


def a_broker_that_refuses() -> None:
    """Schedule where the server asks for a password that nobody gave."""
    _schedule_on(BrokerError, "The server asks for a password. Give one in the broker's URL.")


def a_broker_out_of_reach() -> None:
    """Schedule while the server is down."""
    _schedule_on(BrokerUnavailable, "No connection to the server. Nothing was sent; try again.")


def a_broker_without_memory() -> None:
    """Schedule while the server has no memory left."""
    _schedule_on(BrokerFull, "The server has no memory left. Let workers drain it, or add some.")


def a_line_that_broke() -> None:
    """Schedule while the connection breaks, before the answer came."""
    _schedule_on(ScheduleUncertain, "The server took the job and did not answer. See job_ids.")


def a_worker_that_died() -> None:
    """Hear of a job whose worker process died while it ran."""
    store, clock = MemoryStore(), VirtualClock()
    heard: SimpleQueue[BaseException] = SimpleQueue()

    def on_failure(namespace: str, err: BaseException, **kwargs: object) -> None:
        heard.put(err)

    # A process takes the job, and is not heard of again.
    broker = MemoryBroker(store, clock=clock)
    spin = Engine(broker, namespace="catalogue")
    spin.task(name="hello")(print)
    spin.schedule("hello")
    broker.join("spinach", "dead", Enrolment(lease_ms=30_000))
    broker.fetch([FetchTurn("spinach", "dead", 1)], idle=1, extra=0, max_bytes=1000)

    # Another one takes over, once the lease is over.
    spin = Engine(MemoryBroker(store, clock=clock), namespace="catalogue")
    with signals.job_failed.connected_to(on_failure, sender="catalogue"):
        spin.start_workers(1, block=False)
        try:
            while (err := _soon(heard)) is None:
                clock.advance(timedelta(seconds=1))
        finally:
            spin.stop_workers()
    raise err


def _soon(heard: SimpleQueue[BaseException]) -> BaseException | None:
    try:
        return heard.get(timeout=0.01)
    except Empty:
        return None


def a_job_without_a_result() -> None:
    """Ask for the result of a job that failed."""
    spin = Engine(MemoryBroker())
    spin.task(name="divide", keep_result=timedelta(minutes=5))(lambda: 1 / 0)
    job = spin.schedule("divide")
    spin.start_workers(1, stop_when_queue_empty=True)
    spin.result(job, timeout=timedelta(seconds=10))


def a_job_that_was_cancelled() -> None:
    """Ask for the result of a job that was cancelled."""
    spin = Engine(MemoryBroker())
    spin.task(name="report", keep_result=timedelta(minutes=5))(print)
    job = spin.schedule("report")
    spin.jobs.cancel(job)
    spin.result(job, timeout=timedelta(seconds=10))


def a_result_that_nobody_keeps() -> None:
    """Ask for the result of a task that keeps none."""
    spin = Engine(MemoryBroker())
    spin.task(name="report")(print)
    spin.result(spin.schedule("report"), timeout=timedelta(seconds=10))


def a_result_that_is_not_there_yet() -> None:
    """Ask for a result while no worker runs."""
    spin = Engine(MemoryBroker())
    spin.task(name="report", keep_result=timedelta(minutes=5))(print)
    spin.result(spin.schedule("report"), timeout=timedelta(seconds=0.05))


def a_task_that_asks_for_a_retry() -> None:
    """Ask, inside a task, to be run again; the engine catches it, `execute` does not."""
    spin = Engine(MemoryBroker())

    @spin.task(name="poll", max_retries=5)
    def poll() -> None:
        raise RetryException("The report is not ready yet")

    spin.execute("poll")


def a_task_that_gives_up() -> None:
    """Fail for good inside a task; the engine catches it, `execute` does not."""
    spin = Engine(MemoryBroker())

    @spin.task(name="charge", max_retries=5)
    def charge() -> None:
        raise AbortException("The card has expired")

    spin.execute("charge")


def a_task_without_a_job() -> None:
    """Ask for the running job where none runs, as `execute` runs none."""
    spin = Engine(MemoryBroker())

    @spin.task(name="import")
    def import_rows() -> None:
        current_job().progress(0, 100)

    spin.execute("import")


def a_task_that_stops() -> None:
    """End a task that should stop; `check` raises it in a job."""
    spin = Engine(MemoryBroker())

    @spin.task(name="import")
    def import_rows() -> None:
        raise JobCancelled("The file is not wanted any more")

    spin.execute("import")


def a_task_that_gives_its_job_back() -> None:
    """Give a job back inside a task; the engine catches it, `execute` does not."""
    spin = Engine(MemoryBroker())

    @spin.task(name="import", max_retries=5)
    def import_rows() -> None:
        raise JobReleased("The machine is needed for something else")

    spin.execute("import")


def any_error() -> None:
    """Catch every error by the one base class, here that of a batch used twice."""
    spin = Engine(MemoryBroker())
    spin.task(name="hello")(print)
    batch = Batch()
    batch.schedule("hello")
    spin.schedule_batch(batch)
    spin.schedule_batch(batch)


#: Exception → what raises it. `SpinachError` stands for whatever is caught by it.
CATALOGUE: dict[type[Exception], Callable[[], None]] = {
    SpinachError: any_error,
    UnknownTask: unknown_task,
    UnknownQueue: unknown_queue,
    InvalidJobSignatureError: arguments_that_do_not_fit,
    InvalidTask: not_a_task,
    DuplicateTask: a_name_twice,
    InvalidName: a_bad_name,
    InvalidArgument: an_argument_that_would_not_come_back,
    PayloadTooLarge: too_much_to_send,
    TasksNotAttached: a_registry_alone,
    WorkersRunning: not_while_workers_run,
    NestedCall: a_look_in_the_middle_of_another_call,
    NotInJob: a_task_without_a_job,
    BrokerInUse: one_broker_for_two_engines,
    BrokerError: a_broker_that_refuses,
    BrokerUnavailable: a_broker_out_of_reach,
    BrokerFull: a_broker_without_memory,
    ScheduleUncertain: a_line_that_broke,
    WorkerLost: a_worker_that_died,
    JobFailed: a_job_without_a_result,
    NoResult: a_job_that_was_cancelled,
    ResultExpired: a_result_that_nobody_keeps,
    ResultTimeout: a_result_that_is_not_there_yet,
    WaitTimeout: a_wait_that_is_too_short,
    WaitInWorker: a_worker_that_waits,
    RetryException: a_task_that_asks_for_a_retry,
    AbortException: a_task_that_gives_up,
    JobCancelled: a_task_that_stops,
    JobReleased: a_task_that_gives_its_job_back,
}
