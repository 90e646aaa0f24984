from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest

from spinach.brokers.calls import Verdict
from spinach_redis import RedisBroker

from .jobs import QUEUE, Member, deposit, success

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def in_a_child(work: Callable[[], None]) -> int:
    """Run in a forked process; its exit status, 0 when the work raised nothing."""
    with warnings.catch_warnings():
        # Threads of the proxy and of pytest's timeout do not live on in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_parent_and_child_have_connections_and_sessions_of_their_own(
    new_broker: Callable[..., RedisBroker],
) -> None:  # I2
    broker = new_broker()
    broker.enqueue([deposit()])
    member = Member(broker)
    [lease] = member.take()

    def child() -> None:
        assert broker.enqueue([deposit()]) == [True]
        assert broker.enqueue([deposit()]) == [True]
        assert broker.counts([QUEUE])[0].ready == 2
        broker.close()

    assert in_a_child(child) == 0
    assert broker.enqueue([deposit()]) == [True]
    assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)
    counts = broker.counts([QUEUE])[0]
    assert (counts.ready, counts.leased, counts.enqueued) == (3, 0, 4)


def test_child_does_not_inherit_an_interrupt(new_broker: Callable[..., RedisBroker]) -> None:
    broker = new_broker()
    broker.interrupt()

    def child() -> None:
        assert not broker._lines.waiting._interrupted

    assert in_a_child(child) == 0
    assert Member(broker).fetch(block_seconds=1000.0).verdict is Verdict.APPLIED


def test_child_of_a_process_that_holds_a_lock_is_not_stuck(
    new_broker: Callable[..., RedisBroker],
) -> None:
    broker = new_broker()
    broker.enqueue([deposit()])

    def child() -> None:
        assert broker.enqueue([deposit()]) == [True]

    with broker._lines.producer._lock:
        assert in_a_child(child) == 0
