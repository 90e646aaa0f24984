"""Waking up: nobody is forgotten, and nobody is woken for nothing (I14)."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from spinach.brokers.calls import Ending, FetchReply, Verdict
from spinach_memory import MemoryBroker
from spinach_memory.waiting import Waiter
from spinach_testing.conformance import Lab, Process, deposit, ids

if TYPE_CHECKING:
    from spinach.brokers.operating import Purgeable
    from spinach_memory import MemoryStore
    from spinach_testing.clock import VirtualClock
    from spinach_testing.conformance.lab import Call

SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.concurrency


@pytest.fixture
def blocked(lab: Lab, clock: Any) -> Any:
    """Lets a process wait on a thread of its own, and returns once it does."""

    def fetch(process: Process, **asked: Any) -> Call[FetchReply]:
        call = lab.background(lambda: process.fetch(block_seconds=5, **asked))
        clock.expect_wait()
        return call

    return fetch


def waiting(store: MemoryStore, lab: Lab, queue: str = "letters") -> int:
    """Waiters of a queue that nobody has woken."""
    shelves = store.shelves()
    with shelves.lock:
        stored = shelves.queue(lab.client.namespace, queue)
        return sum(not waiter.woken for waiter in stored.waiters._waiters)


class TestInterrupt:
    def test_ends_the_fetch_that_waits(self, lab: Lab, blocked: Any) -> None:
        process = lab.process()
        call = blocked(process)
        process.broker.interrupt()
        assert call.result().verdict is Verdict.APPLIED

    def test_is_kept_for_the_next_fetch_and_used_up_by_it(self, lab: Lab, blocked: Any) -> None:
        process = lab.process()
        process.broker.interrupt()
        process.broker.interrupt()
        assert process.fetch(block_seconds=5).leases == ()
        call = blocked(process)
        process.broker.interrupt()
        assert call.result().leases == ()

    def test_is_not_used_up_by_a_fetch_that_would_not_wait(self, lab: Lab) -> None:
        process = lab.process()
        process.broker.interrupt()
        process.fetch()
        assert process.fetch(block_seconds=5).leases == ()

    def test_concerns_no_other_broker(self, lab: Lab, clock: Any, blocked: Any) -> None:
        one, other = lab.process(), lab.process()
        call = blocked(one)
        other.broker.interrupt()
        assert other.fetch(block_seconds=5).leases == ()
        assert not call.ends_within(0)
        lab.enqueue(deposit())
        assert len(call.result().leases) == 1

    def test_of_a_fetch_that_ended_leaves_nothing_behind(
        self, lab: Lab, blocked: Any, store: MemoryStore
    ) -> None:
        process = lab.process()
        call = blocked(process)
        lab.enqueue(deposit())
        assert len(call.result().leases) == 1
        assert store.shelves()._waiting == {}
        assert waiting(store, lab) == 0


class TestWait:
    def test_ends_when_virtual_time_is_over(self, lab: Lab, blocked: Any) -> None:
        call = blocked(lab.process())
        lab.advance(5 * SECOND)
        assert call.result().leases == ()

    def test_does_not_begin_when_something_is_there(self, lab: Lab) -> None:
        process = lab.process()
        job = deposit()
        lab.enqueue(job)
        assert ids(process.fetch(block_seconds=5).leases) == [job.stored_id]

    def test_does_not_begin_when_a_named_park_holds_jobs(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit("new.task"))
        process.park(process.take_one())
        assert len(process.fetch(block_seconds=5, parks=["new.task"]).leases) == 1

    def test_begins_although_a_park_holds_jobs_that_nobody_asked_for(
        self, lab: Lab, blocked: Any
    ) -> None:
        process = lab.process()
        lab.enqueue(deposit("new.task"))
        process.park(process.take_one())
        call = blocked(process)
        lab.advance(5 * SECOND)
        assert call.result().parks == ("new.task",)

    def test_covers_several_queues(self, lab: Lab, clock: Any) -> None:
        process = lab.process("a", "b")
        call = lab.background(lambda: process.fetch_from(["a", "b"], block_seconds=5))
        clock.expect_wait()
        job = deposit(queue="b")
        lab.enqueue(job)
        first, second = call.result()
        assert first.leases == ()
        assert ids(second.leases) == [job.stored_id]


class TestWakeUp:
    def test_one_job_wakes_the_process_that_waits_longest(
        self, lab: Lab, blocked: Any, store: MemoryStore
    ) -> None:
        calls = [blocked(lab.process()) for _ in range(3)]
        lab.enqueue(deposit())
        assert len(calls[0].result().leases) == 1
        assert waiting(store, lab) == 2
        lab.enqueue(deposit())
        assert len(calls[1].result().leases) == 1
        assert waiting(store, lab) == 1

    def test_process_that_leaves_jobs_behind_wakes_the_next(self, lab: Lab, blocked: Any) -> None:
        calls = [blocked(lab.process(), idle=2) for _ in range(3)]
        lab.enqueue(*(deposit() for _ in range(6)))
        assert [len(call.result().leases) for call in calls] == [2, 2, 2]

    def test_job_done_elsewhere_wakes_nobody(
        self, lab: Lab, blocked: Any, store: MemoryStore
    ) -> None:
        busy = lab.process()
        lab.enqueue(deposit())
        lease = busy.take_one()
        blocked(lab.process())
        busy.succeed(lease)
        assert waiting(store, lab) == 1

    def test_release_retry_and_recovery_wake(self, lab: Lab, blocked: Any) -> None:
        busy = lab.process()
        for give_back in (busy.release, busy.retry):
            lab.enqueue(deposit())
            lease = busy.take_one()
            idle = lab.process()
            call = blocked(idle)
            give_back(lease)
            idle.succeed(*call.result().leases)
            assert idle.leave().verdict is Verdict.APPLIED

    def test_parked_job_wakes_who_asked_for_its_park_and_nobody_else(
        self, lab: Lab, clock: Any, blocked: Any
    ) -> None:
        ignorant = lab.process()
        lab.enqueue(deposit("new.task"))
        lease = ignorant.take_one()
        idle, knowing = blocked(lab.process()), blocked(lab.process(), parks=["new.task"])
        ignorant.park(lease)
        assert len(knowing.result().leases) == 1
        clock.expect_wait()
        assert not idle.ends_within(0)
        lab.enqueue(deposit())
        assert len(idle.result().leases) == 1

    def test_failed_job_that_a_person_retries_wakes(self, lab: Lab, blocked: Any) -> None:
        process = lab.process()
        job = deposit()
        lab.enqueue(job)
        process.fail(process.take_one())
        call = blocked(process)
        lab.client.retry_failed(job.queue, [job.stored_id])
        assert ids(call.result().leases) == [job.stored_id]

    def test_tick_that_makes_jobs_ready_wakes(self, lab: Lab, blocked: Any) -> None:
        process = lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(SECOND)))
        assert process.fetch().next_due_in_ms == 1000
        call = blocked(process)
        lab.advance(SECOND)
        lab.client.tick("letters", ())
        assert len(call.result().leases) == 1

    def test_job_that_is_due_first_makes_a_waiting_process_timekeeper(
        self, lab: Lab, blocked: Any
    ) -> None:
        keeper, other = lab.process(), lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(10 * SECOND)))
        assert keeper.fetch().next_due_in_ms == 10_000
        call = blocked(other)
        lab.enqueue(deposit(due_ms=lab.in_ms(20 * SECOND)))
        assert not call.ends_within(0)
        lab.enqueue(deposit(due_ms=lab.in_ms(4 * SECOND)))
        assert call.result().next_due_in_ms == 4000
        assert keeper.fetch().next_due_in_ms is None

    def test_timekeeper_that_leaves_hands_its_role_on(self, lab: Lab, blocked: Any) -> None:
        keeper, other = lab.process(), lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(10 * SECOND)))
        assert keeper.fetch().next_due_in_ms == 10_000
        call = blocked(other)
        keeper.leave()
        assert call.result().next_due_in_ms == 10_000


class TestLostWakeUp:
    def test_process_that_breaks_off_passes_its_wake_up_on(
        self, lab: Lab, store: MemoryStore, blocked: Any
    ) -> None:
        began = threading.Event()

        class FragileClock:
            """A wait that is interrupted by an exception once it was notified."""

            def now(self) -> Any:
                return lab.harness.now()

            def monotonic(self) -> float:
                return 0.0

            def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
                began.set()
                condition.wait()
                raise KeyboardInterrupt

        broker = MemoryBroker(store, clock=FragileClock())
        broker.bind(lab.client.namespace, object())
        fragile, patient = Process(broker), lab.process()
        fragile.join()
        broken = lab.background(lambda: fragile.fetch(block_seconds=5))
        assert began.wait(10)
        call = blocked(patient)
        lab.enqueue(deposit())
        with pytest.raises(KeyboardInterrupt):
            broken.result()
        assert len(call.result().leases) == 1

    def test_process_whose_turn_is_stale_passes_its_wake_up_on(
        self, lab: Lab, blocked: Any
    ) -> None:
        first, second = lab.process(), lab.process()
        stale = blocked(first)
        call = blocked(second)
        first.reconcile()
        lab.enqueue(deposit())
        assert stale.result().verdict is Verdict.STALE
        assert len(call.result().leases) == 1

    def test_process_that_takes_none_passes_its_wake_up_on(self, lab: Lab, blocked: Any) -> None:
        full, hungry = blocked(lab.process(), idle=0), blocked(lab.process())
        lab.enqueue(deposit())
        assert full.result().leases == ()
        assert len(hungry.result().leases) == 1

    def test_interrupted_process_still_takes_what_it_was_woken_for(
        self, lab: Lab, blocked: Any, store: MemoryStore
    ) -> None:
        process = lab.process()
        call = blocked(process)
        lab.enqueue(deposit())
        process.broker.interrupt()
        call.result()
        assert waiting(store, lab) == 0
        assert lab.counts().leased == 1

    def test_many_processes_take_many_jobs_and_none_is_left(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(300)]
        enough = threading.Semaphore(0)
        taken: list[str] = []

        def work(process: Process) -> None:
            while leases := process.fetch(idle=2, block_seconds=5).leases:
                process.succeed(*leases)
                taken.extend(ids(leases))
                for _ in leases:
                    enough.release()

        processes = [lab.process() for _ in range(5)]
        calls = [lab.background(lambda each=each: work(each)) for each in processes]
        for job in jobs:
            lab.enqueue(job)
        for _ in jobs:
            assert enough.acquire(timeout=10), "a job lies there and nobody comes"
        for process in processes:
            process.broker.interrupt()
        for call in calls:
            call.result()
        assert sorted(taken) == sorted(ids(jobs))


class TestWaiter:
    def test_goes_on_waiting_with_the_time_it_has_left(self, clock: VirtualClock) -> None:
        waits: list[float | None] = []
        lock = threading.Lock()
        waiter = Waiter(lock)

        class Impatient:
            def now(self) -> Any:
                return clock.now()

            def monotonic(self) -> float:
                return clock.monotonic()

            def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
                waits.append(timeout)
                clock.advance(SECOND)
                return True

        with lock:
            waiter.wait(Impatient(), 3.0, lambda: False)
        assert waits == [3.0, 2.0, 1.0]


class TestWaitForAnEnd:
    @pytest.mark.parametrize("status", ["queued", "waiting"])
    def test_ends_with_a_job_that_is_purged(
        self, lab: Lab, clock: VirtualClock, status: Purgeable
    ) -> None:
        job = deposit(due_ms=lab.in_ms(60 * SECOND) if status == "waiting" else None)
        lab.enqueue(job)
        call = lab.background(lambda: lab.client.await_end("letters", job.stored_id, 600.0))
        clock.expect_wait()
        assert lab.client.purge("letters", status, 1).removed == 1
        assert call.result().ending is Ending.ABSENT
