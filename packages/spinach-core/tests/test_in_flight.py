"""The hand-over: a leased job is in one place of the process, and moves under one lock."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from spinach import Tasks
from spinach.brokers.calls import Verdict
from spinach.const import MAX_BUFFER, MAX_FETCH
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.record.options import RecordOptions
from spinach.worker.buffer import LeasedJob
from spinach.worker.in_flight import InFlight
from spinach.worker.membership import Membership
from spinach.worker.prefetch import Prefetch

from .support import PATIENCE, QuietClock

RELEASE = OutcomeKind.RELEASE
SUCCEEDED = OutcomeKind.SUCCEEDED
CANCELLED = OutcomeKind.CANCELLED


class Rig:
    """A hand-over with a membership, and ears at its bells."""

    def __init__(self, **options: Any) -> None:
        self.clock = QuietClock()
        self.prefetch = Prefetch()
        self.arbiter_rang = 0
        self.subscriber_rang = 0
        self.notifier_rang = 0
        self.in_flight = InFlight(
            self.clock,
            self.prefetch,
            wake_subscriber=self._ring_subscriber,
            wake_arbiter=self._ring_arbiter,
            wake_notifier=self._ring_notifier,
            **({"hurry_notifier": lambda: None} | options),
        )
        self.membership = self.member()
        tasks = Tasks()
        tasks.add(print, "print")
        self._task = tasks.get("print")

    def _ring_subscriber(self) -> None:
        self.subscriber_rang += 1

    def _ring_arbiter(self) -> None:
        self.arbiter_rang += 1

    def _ring_notifier(self) -> None:
        self.notifier_rang += 1

    def member(self) -> Membership:
        membership = Membership("q", 30)
        membership.joined = True
        membership.renewed(self.clock.monotonic())
        return membership

    def job(
        self, number: int, *, repeatable: bool = True, membership: Membership | None = None
    ) -> LeasedJob:
        membership = membership or self.membership
        stored_id = f"{int(repeatable)}job-{number}"
        lease = Lease("q", membership.member, stored_id, f"t{number}", True, b"", 0)
        return LeasedJob(lease, membership, self._task)

    def put(self, *numbers: int, **options: Any) -> list[LeasedJob]:
        jobs = [self.job(number, **options) for number in numbers]
        self.in_flight.put(jobs)
        return jobs

    def take(self, worker: int = 1, outcome: Outcome | None = None) -> LeasedJob:
        """What a worker gets; there must be something."""
        work = self.in_flight.exchange(worker, outcome)
        assert isinstance(work, LeasedJob)
        return work

    def end(self, worker: int, job: LeasedJob) -> None:
        """A job ended, and the hand-over is closed, so that the thread ends too."""
        assert self.in_flight.exchange(worker, succeeded(job)) is None

    def pending(self) -> list[tuple[OutcomeKind, int]]:
        """(kind, number) of all outcomes to report, which puts them in flight."""
        return [
            (outcome.kind, int(outcome.lease.stored_id.rpartition("-")[2]))
            for outcome in self.in_flight.collect((), 1000)
        ]

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def succeeded(job: LeasedJob) -> Outcome:
    return Outcome(SUCCEEDED, job.lease, "print")


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_jobs_leave_in_the_order_they_came(rig: Rig) -> None:
    jobs = rig.put(1, 2) + rig.put(3)
    assert [rig.take(worker) for worker in (1, 2, 3)] == jobs


def test_leases_that_are_held_are_counted_without_a_pass_over_them(rig: Rig) -> None:  # I6
    other = rig.member()
    ours, theirs = rig.membership.member, other.member

    def check() -> None:
        for member in (ours, theirs):
            assert rig.in_flight.held_count(member) == len(rig.in_flight.held(member))

    rig.put(1, 2, 3, 4)
    rig.put(5, 6, membership=other)
    rig.in_flight.post(Outcome(OutcomeKind.PARK, rig.job(7).lease, "unknown"))
    check()
    assert (rig.in_flight.held_count(ours), rig.in_flight.held_count(theirs)) == (5, 2)
    running = rig.take()
    rig.in_flight.settle(ours, [(f"1job-{n}", f"t{n}") for n in (1, 2)])
    check()
    rig.in_flight.drop(theirs)
    check()
    rig.in_flight.close()
    rig.end(1, running)
    check()
    sent = rig.in_flight.collect((), 3)
    check()
    rig.in_flight.answered([Verdict.APPLIED, Verdict.REFUSED, Verdict.UNKNOWN][: len(sent)])
    check()
    assert rig.in_flight.held_count(ours) == 2
    rig.in_flight._leases = None  # type: ignore[assignment]
    assert rig.in_flight.held_count(ours) == 2


def test_a_job_is_held_from_the_fetch_until_its_outcome_is_answered(rig: Rig) -> None:
    # I6, I17
    (job,) = rig.put(1)
    held = [(job.lease.stored_id, job.lease.token)]
    member = rig.membership.member
    assert rig.in_flight.held(member) == held
    rig.take()
    assert rig.in_flight.held(member) == held
    rig.in_flight.close()
    rig.end(1, job)
    assert rig.in_flight.held(member) == held
    rig.pending()
    assert rig.in_flight.held(member) == held
    rig.in_flight.answered([Verdict.UNKNOWN])
    assert rig.in_flight.held(member) == held
    rig.pending()
    rig.in_flight.answered([Verdict.APPLIED])
    assert rig.in_flight.held(member) == []
    assert rig.in_flight.empty


def test_what_another_membership_holds_is_not_named(rig: Rig) -> None:
    rig.put(1)
    assert rig.in_flight.held("other") == []


def test_no_job_starts_after_the_safe_part_of_the_lease(rig: Rig) -> None:
    # I16: the lease is 30 s, the margin 5 s.
    other = Membership("q", 30)
    other.renewed(10.0)
    rig.put(1)
    rig.put(2, membership=other)
    rig.advance(25)
    assert rig.take().lease.stored_id == "1job-2"
    assert rig.in_flight.fetch_size().idle == 0


def test_a_proof_of_life_wakes_who_could_not_start(rig: Rig) -> None:
    rig.put(1)
    rig.advance(25)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(rig.in_flight.exchange(1)))
    thread.start()
    rig.clock.until_quiet(lambda: 1)
    rig.membership.renewed(rig.clock.monotonic())
    rig.in_flight.membership_renewed()
    thread.join(PATIENCE)
    assert [job.lease.stored_id for job in got] == ["1job-1"]


def test_the_demand_is_for_idle_threads_and_room(rig: Rig) -> None:
    rig.prefetch.fetch_took(0.01)
    rig.put(1)
    job = rig.take()
    rig.advance(0.001)
    rig.put(2)
    rig.take(1, succeeded(job))
    size = rig.in_flight.fetch_size()
    assert size.idle == 0
    assert size.extra == 20  # 2 · 10 ms of jobs of 1 ms, for the one thread that is lively
    assert size.low


def test_a_large_buffer_is_filled_in_more_than_one_fetch(rig: Rig) -> None:
    rig.prefetch.fetch_took(0.01)
    rig.put(1)
    job = rig.take()
    rig.put(2)
    rig.take(1, succeeded(job))  # the first one took no time
    first = rig.in_flight.fetch_size()
    assert (first.extra, first.low) == (MAX_FETCH, True)
    rig.put(*range(3, 3 + first.extra))
    second = rig.in_flight.fetch_size()
    assert (second.extra, second.low) == (MAX_BUFFER - MAX_FETCH, True)
    rig.put(*range(2000, 2000 + second.extra))
    assert rig.in_flight.fetch_size().extra == 0


def test_without_threads_there_is_no_demand(rig: Rig) -> None:
    size = rig.in_flight.fetch_size()
    assert (size.idle, size.extra, size.low) == (0, 0, False)


def test_after_the_close_there_is_no_demand(rig: Rig) -> None:
    rig.in_flight.close()
    size = rig.in_flight.fetch_size()
    assert (size.idle, size.extra, size.low) == (0, 0, False)


def test_the_close_gives_the_buffer_back_in_order(rig: Rig) -> None:
    # I20
    rig.put(1, 2, 3)
    rig.in_flight.close()
    assert rig.in_flight.exchange(1) is None
    rig.in_flight.give_back()
    assert rig.pending() == [(RELEASE, 1), (RELEASE, 2), (RELEASE, 3)]


def test_what_arrives_after_the_close_goes_back_behind_what_was_there(rig: Rig) -> None:
    # I9: released by itself, what came before would end up behind it.
    rig.put(1)
    rig.in_flight.close()
    assert rig.pending() == []
    rig.put(2, 3)
    assert rig.in_flight.exchange(1) is None
    rig.in_flight.give_back()
    assert rig.pending() == [(RELEASE, 1), (RELEASE, 2), (RELEASE, 3)]


def test_what_a_fetch_brings_for_a_fenced_membership_is_dropped(rig: Rig) -> None:
    # I16: a beat found it fenced while the fetch was under way.
    rig.membership.fenced = True
    rig.put(1)
    assert rig.in_flight.empty
    assert rig.in_flight.held_count(rig.membership.member) == 0


def test_closing_twice_is_fine(rig: Rig) -> None:
    rig.put(1)
    rig.in_flight.close()
    rig.in_flight.close()
    rig.in_flight.give_back()
    rig.in_flight.give_back()
    assert rig.pending() == [(RELEASE, 1)]


def test_a_job_that_runs_is_not_given_back_by_the_close(rig: Rig) -> None:
    (job,) = rig.put(1)
    rig.take()
    rig.in_flight.close()
    assert rig.pending() == []
    rig.end(1, job)
    assert rig.pending() == [(SUCCEEDED, 1)]


def test_the_end_of_the_grace_gives_back_what_may_repeat_only(rig: Rig) -> None:
    # I3, I20
    (repeatable,) = rig.put(1)
    (once,) = rig.put(2, repeatable=False)
    rig.take(1)
    rig.take(2)
    rig.in_flight.close()
    assert rig.in_flight.abandon() == [repeatable, once]
    assert rig.in_flight.abandon() == [once]
    assert rig.in_flight.running == 1
    assert rig.in_flight.busy_workers == {1, 2}
    assert rig.pending() == [(RELEASE, 1)]
    rig.in_flight.answered([Verdict.APPLIED])
    rig.end(1, repeatable)  # void: the job is not this thread's any more
    rig.end(2, once)
    assert rig.pending() == [(SUCCEEDED, 2)]


def test_after_the_end_of_the_crew_a_thread_reports_by_itself(rig: Rig) -> None:
    (job,) = rig.put(1, repeatable=False)
    rig.take(1)
    rig.in_flight.close()
    rig.in_flight.dissolve()
    rig.end(1, job)
    assert rig.pending() == []
    assert rig.in_flight.late(1) == succeeded(job)
    assert rig.in_flight.late(1) is None


def test_a_stray_in_the_buffer_is_dropped_and_one_that_runs_goes_on(rig: Rig) -> None:
    # I6: the store does not count them as ours.
    running, buffered, ours = rig.put(1, 2, 3)
    rig.take(1)
    strays = [(job.lease.stored_id, job.lease.token) for job in (running, buffered)]
    assert rig.in_flight.settle(rig.membership.member, strays) == [running.lease]
    assert rig.take(2) is ours
    rig.in_flight.close()
    rig.end(1, running)
    rig.pending()
    # That its outcome is refused is no news.
    assert rig.in_flight.answered([Verdict.REFUSED]) == ([], set())


def test_a_reconciliation_without_strays_changes_nothing(rig: Rig) -> None:
    (job,) = rig.put(1)
    assert rig.in_flight.settle(rig.membership.member, []) == []
    assert rig.take() is job


def test_a_pair_of_the_same_id_with_another_token_is_not_touched(rig: Rig) -> None:
    # Reconciling by bare id would hand a finished at-most-once job out again.
    (job,) = rig.put(1)
    rig.in_flight.settle(rig.membership.member, [(job.lease.stored_id, "older")])
    assert rig.take() is job


def test_a_fence_drops_what_that_membership_buffered(rig: Rig) -> None:
    other = rig.member()
    running, _ = rig.put(1, 2)
    (kept,) = rig.put(3, membership=other)
    rig.take(1)
    rig.in_flight.drop(rig.membership.member)
    assert rig.take(2) is kept
    rig.in_flight.close()
    rig.end(1, running)
    rig.pending()
    assert rig.in_flight.answered([Verdict.REFUSED]) == ([], set())


def test_a_refusal_that_nobody_expected_is_told(rig: Rig) -> None:
    (job,) = rig.put(1)
    rig.take()
    rig.in_flight.close()
    rig.end(1, job)
    rig.pending()
    assert rig.in_flight.answered([Verdict.REFUSED]) == ([succeeded(job)], set())


def test_a_buffer_that_nobody_takes_from_goes_back_whole(rig: Rig) -> None:
    rig.put(1, 2)
    assert rig.in_flight.stale_in() == pytest.approx(0.05)
    rig.advance(0.049)
    rig.in_flight.withdraw_stale()
    assert rig.pending() == []
    rig.advance(0.001)
    assert rig.in_flight.stale_in() == 0.0
    rig.in_flight.withdraw_stale()
    assert rig.pending() == [(RELEASE, 1), (RELEASE, 2)]
    assert rig.in_flight.stale_in() is None
    assert rig.prefetch.stalled


def test_a_job_that_waits_long_behind_others_goes_back_alone(rig: Rig) -> None:
    old = rig.put(1, 2)
    for _ in range(4):
        rig.advance(0.045)
        rig.put(3)
        rig.in_flight._buffer.taken_at = rig.clock.monotonic()  # as if a thread took one just now
    assert rig.in_flight.stale_in() == pytest.approx(0.02)
    rig.advance(0.02)
    rig.in_flight.withdraw_stale()
    assert rig.pending() == [(RELEASE, 1), (RELEASE, 2)]
    assert old[0].lease.stored_id == "1job-1"
    assert not rig.prefetch.stalled


def test_an_empty_buffer_has_nothing_that_can_grow_stale(rig: Rig) -> None:
    assert rig.in_flight.stale_in() is None
    rig.in_flight.withdraw_stale()
    assert rig.pending() == []


def test_an_errand_comes_before_jobs_and_the_end(rig: Rig) -> None:
    def callback() -> None: ...

    rig.put(1)
    rig.in_flight.run_callback(callback)
    assert not rig.in_flight.empty
    assert rig.in_flight.exchange(1) is callback
    rig.take(1)


def test_an_errand_runs_even_when_the_hand_over_is_closed(rig: Rig) -> None:
    def callback() -> None: ...

    rig.in_flight.close()
    rig.in_flight.run_callback(callback)
    assert rig.in_flight.exchange(1) is callback
    assert rig.in_flight.exchange(1) is None


def test_the_notifier_is_woken_once_for_many_outcomes(rig: Rig) -> None:
    rig.put(1, 2, 3)
    rig.in_flight.close()
    rig.in_flight.give_back()
    assert rig.notifier_rang == 1
    rig.pending()
    rig.in_flight.answered([Verdict.APPLIED] * 3)
    rig.put(4)
    rig.in_flight.give_back()
    assert rig.notifier_rang == 2


def test_the_arbiter_hears_when_all_is_done_if_it_wants_to(rig: Rig) -> None:
    for tell_empty, expected in ((True, 1), (False, 0)):
        rig = Rig(tell_empty=tell_empty)
        (job,) = rig.put(1)
        rig.take()
        rig.in_flight.post(succeeded(job))
        rig.in_flight._running.clear()
        before = rig.arbiter_rang
        rig.pending()
        rig.in_flight.answered([Verdict.APPLIED])
        assert rig.arbiter_rang - before == expected


@pytest.mark.concurrency
def test_many_threads_take_every_job_once_and_all_outcomes_leave() -> None:
    rig = Rig()
    count, workers = 2000, 8
    seen: list[list[int]] = [[] for _ in range(workers)]

    def work(worker: int) -> None:
        outcome = None
        while (job := rig.in_flight.exchange(worker, outcome)) is not None:
            assert isinstance(job, LeasedJob)
            seen[worker].append(int(job.lease.stored_id.rpartition("-")[2]))
            outcome = succeeded(job)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for first in range(0, count, 50):
        rig.put(*range(first, first + 50))
    reported: list[int] = []
    while len(reported) < count:
        batch = rig.pending()
        assert all(kind is SUCCEEDED for kind, _ in batch)
        reported += [number for _, number in batch]
        rig.in_flight.answered([Verdict.APPLIED] * len(batch))
    rig.in_flight.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(sum(seen, [])) == sorted(reported) == list(range(count))
    assert rig.in_flight.empty


@pytest.mark.concurrency
def test_a_close_in_the_middle_runs_or_returns_each_job_and_never_both() -> None:
    for _ in range(30):
        rig = Rig()
        ran: list[int] = []

        def work(worker: int, rig: Rig = rig, ran: list[int] = ran) -> None:
            outcome = None
            while (job := rig.in_flight.exchange(worker, outcome)) is not None:
                assert isinstance(job, LeasedJob)
                ran.append(int(job.lease.stored_id.rpartition("-")[2]))
                outcome = succeeded(job)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        rig.put(*range(40))
        rig.in_flight.close()
        rig.in_flight.give_back()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        outcomes = rig.pending()
        released = [number for kind, number in outcomes if kind is RELEASE]
        assert sorted(ran + released) == list(range(40))
        assert released == sorted(released)
        assert sorted(n for kind, n in outcomes if kind is SUCCEEDED) == sorted(ran)


def test_the_job_of_a_thread_that_died_is_held_but_does_not_run() -> None:  # I3
    rig = Rig()
    rig.put(1)
    job = rig.take()
    rig.in_flight.forget(1)
    # To the store it is still ours: only recovery, which counts the loss, may take it back.
    assert rig.in_flight.held(rig.membership.member) == [(job.lease.stored_id, job.lease.token)]
    assert rig.in_flight.running == 0
    assert rig.in_flight.abandon() == []


@pytest.mark.parametrize("limit, hurries", [(None, 0), (3, 1)])
def test_outcome_that_frees_a_slot_is_reported_in_a_hurry(limit: int | None, hurries: int) -> None:
    rung: list[None] = []
    rig = Rig(hurry_notifier=lambda: rung.append(None))
    tasks = Tasks()
    tasks.add(print, "limited", max_concurrency=limit)
    job = rig.job(1)
    job.task = tasks.get("limited")
    rig.in_flight.put([job])
    taken = rig.take(1)
    rig.in_flight.close()
    rig.end(1, taken)
    assert len(rung) == hurries
    assert rig.notifier_rang == 1


@pytest.mark.parametrize("keep_ms, waiting, hurries", [(None, 0, 0), (5, 0, 1), (5, 1, 0)])
def test_end_that_someone_may_wait_for_is_reported_in_a_hurry(
    keep_ms: int | None, waiting: int, hurries: int
) -> None:
    rung: list[None] = []
    rig = Rig(hurry_notifier=lambda: rung.append(None))
    rig.put(*range(1 + waiting))
    job = rig.take(1)
    rig.in_flight.close()
    told = Outcome(SUCCEEDED, job.lease, "print", keep_ms=keep_ms)
    assert rig.in_flight.exchange(1, told) is None
    assert len(rung) == hurries


def test_threads_that_run_short_jobs_are_worth_a_moment(rig: Rig) -> None:
    rig.prefetch.job_took(0.0001)
    rig.prefetch.fetch_took(0.016)
    assert rig.in_flight.fetch_size().gather == 0.0
    rig.put(1)
    # On its way to a thread.
    assert rig.in_flight.fetch_size().gather == 0.002
    job = rig.take(1)
    assert rig.in_flight.fetch_size().gather == 0.002
    rig.in_flight.close()
    rig.end(1, job)
    assert rig.in_flight.fetch_size().gather == 0.0


def pair(job: LeasedJob) -> tuple[str, str]:
    return job.lease.stored_id, job.lease.token


def test_a_cancelled_job_that_runs_is_marked_and_its_outcome_counts(rig: Rig) -> None:
    runs, other = rig.put(1, 2)
    rig.take(1)
    rig.take(2)

    rig.in_flight.request_cancel([pair(runs)])

    assert (runs.cancelled, other.cancelled) == (True, False)
    rig.in_flight.close()
    rig.end(1, runs)
    assert rig.pending() == [(SUCCEEDED, 1)]


def test_a_cancelled_job_in_the_buffer_never_starts_and_is_told_of(rig: Rig) -> None:
    told: list[Lease] = []
    rig = Rig(on_cancelled=told.append)
    first, second = rig.put(1, 2)

    rig.in_flight.request_cancel([pair(first)])

    assert rig.in_flight.held(rig.membership.member) == [pair(second), pair(first)]
    callback = rig.in_flight.exchange(1)
    assert callable(callback)
    callback()
    assert told == [first.lease]
    assert rig.take(1) is second
    assert rig.pending() == [(CANCELLED, 1)]
    assert rig.in_flight.answered([Verdict.APPLIED]) == ([], set())
    assert rig.in_flight.held_count(rig.membership.member) == 1


def test_a_cancel_that_overtakes_the_fetch_meets_the_job_when_it_comes(rig: Rig) -> None:
    late = rig.job(1)

    rig.in_flight.request_cancel([pair(late)])
    rig.in_flight.put([late, other := rig.job(2)])

    assert rig.take(1) is other
    assert rig.pending() == [(CANCELLED, 1)]


def test_a_later_call_replaces_what_was_still_to_come(rig: Rig) -> None:
    late = rig.job(1)
    rig.in_flight.request_cancel([pair(late)])

    rig.in_flight.request_cancel([])
    rig.in_flight.put([late])

    assert rig.take(1) is late


def test_a_cancel_names_a_lease_and_not_a_job(rig: Rig) -> None:
    (job,) = rig.put(1)
    rig.in_flight.request_cancel([(job.lease.stored_id, "another token")])
    assert rig.take(1) is job
    assert not job.cancelled


def test_an_outcome_on_its_way_is_left_to_the_store(rig: Rig) -> None:
    (job,) = rig.put(1)
    rig.take(1)
    rig.in_flight.close()
    rig.end(1, job)

    rig.in_flight.request_cancel([pair(job)])

    assert rig.pending() == [(SUCCEEDED, 1)]


def test_a_cancelled_job_in_the_buffer_frees_its_slot_in_a_hurry() -> None:
    hurries: list[None] = []
    rig = Rig(hurry_notifier=lambda: hurries.append(None))
    tasks = Tasks()
    tasks.add(print, "print", max_concurrency=1)
    job = rig.job(1)
    job.task = tasks.get("print")
    rig.in_flight.put([job])

    rig.in_flight.request_cancel([pair(job)])

    assert len(hurries) == 1


def test_outcomes_without_a_thread_say_how_long_the_end_is_kept(rig: Rig) -> None:
    cancelled, given_back = rig.job(1), rig.job(2)
    cancelled.options = given_back.options = RecordOptions(keep_ms=5)
    rig.in_flight.put([cancelled, given_back])

    rig.in_flight.request_cancel([pair(cancelled)])
    rig.in_flight.give_back()

    told = [(outcome.kind, outcome.keep_ms) for outcome in rig.in_flight.collect((), 1000)]
    assert told == [(CANCELLED, 5), (RELEASE, 5)]


def test_cancel_again_is_fine(rig: Rig) -> None:
    runs, waits = rig.put(1, 2)
    rig.take(1)
    for _ in range(2):
        rig.in_flight.request_cancel([pair(runs), pair(waits)])
    assert runs.cancelled
    assert rig.pending() == [(CANCELLED, 2)]
