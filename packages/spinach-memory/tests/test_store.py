"""One store: apart by namespace, and empty in a child process."""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from spinach.brokers.calls import Verdict
from spinach_memory import store as store_module
from spinach_memory.store import Shelves
from spinach_testing.conformance import Lab, deposit, ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach_memory import MemoryStore

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def in_child(function: Callable[[], bool]) -> bool:
    """What the function returns in a forked child; False when it hangs or raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"0"
        try:
            answer = b"1" if function() else b"0"
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.close(writer)
    try:
        readable, _, _ = select.select([reader], [], [], 20)
        if not readable:
            os.kill(child, signal.SIGKILL)
            return False
        return os.read(reader, 1) == b"1"
    finally:
        os.close(reader)
        os.waitpid(child, 0)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process look like a child of itself."""

    def become_the_child() -> None:
        child = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: child)

    return become_the_child


def test_namespaces_share_nothing(lab: Lab) -> None:  # I21
    mine = lab.process("q")
    theirs = lab.process("q", namespace="others")
    job = deposit(queue="q")
    mine.broker.enqueue([job])
    assert theirs.take(5, queue="q") == []
    assert theirs.broker.counts(["q"])[0].members == 1
    assert ids(mine.take(5, queue="q")) == [job.stored_id]
    theirs.broker.interrupt()
    assert theirs.fetch("q", block_seconds=5).leases == ()


def test_asking_for_counts_of_a_queue_does_not_create_it(lab: Lab, store: MemoryStore) -> None:
    assert lab.counts("nowhere").ready == 0
    assert lab.client.failed_jobs("nowhere") == []
    assert store.shelves().find(lab.client.namespace, "nowhere") is None


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_does_not_run_the_jobs_of_its_parent(lab: Lab) -> None:  # I3
    lab.enqueue(deposit(), deposit(max_retries=0))
    process = lab.process()
    lease = process.take_one()

    def child_sees_nothing() -> bool:
        fenced = process.fetch(idle=5)
        process.join()
        return (
            lab.counts().enqueued == 0
            and fenced.verdict is Verdict.FENCED
            and process.fetch(idle=5).leases == ()
        )

    assert in_child(child_sees_nothing)
    process.succeed(lease)
    assert len(process.take(5)) == 1


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_works_although_a_thread_of_its_parent_held_the_lock(
    lab: Lab, store: MemoryStore
) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.shelves().lock:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)

    def child_works() -> bool:
        process = lab.process()
        lab.enqueue(deposit())
        process.succeed(process.take_one())
        process.broker.interrupt()
        return process.fetch(block_seconds=5).leases == () and lab.counts().enqueued == 1

    try:
        assert in_child(child_works)
    finally:
        done.set()
        holder.join()


def test_child_does_not_inherit_an_interrupt(
    lab: Lab, clock: object, forked: Callable[[], None]
) -> None:
    process = lab.process()
    process.broker.interrupt()
    forked()
    process.join()
    waits = lab.background(lambda: process.fetch(block_seconds=5))
    clock.expect_wait()  # type: ignore[attr-defined]
    process.broker.interrupt()
    assert waits.result().verdict is Verdict.APPLIED


def test_child_lets_the_copy_of_its_parents_jobs_go(
    store: MemoryStore, forked: Callable[[], None]
) -> None:
    parents = store.shelves()
    forked()
    assert store.shelves() is not parents
    assert list(store._by_process.values()) == [store.shelves()]


def test_threads_of_a_child_agree_on_one_store(
    store: MemoryStore, forked: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_faster_thread: list[object] = []

    def make() -> Shelves:
        # While one thread makes its content another one comes and has its own made.
        monkeypatch.setattr(store_module, "Shelves", Shelves)
        of_the_faster_thread.append(store.shelves())
        return Shelves()

    forked()
    monkeypatch.setattr(store_module, "Shelves", make)
    assert [store.shelves()] == of_the_faster_thread
    assert [store.shelves()] == of_the_faster_thread
