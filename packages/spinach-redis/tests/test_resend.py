"""A chunk that is sent again after its jobs are done."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from spinach_redis import RedisBroker
from spinach_redis import scripts as script

from .jobs import QUEUE, Member, deposit, success
from .proxy import Loss, Proxy


def test_job_that_was_done_before_it_was_sent_again_is_not_stored_anew(
    new_broker: Callable[..., RedisBroker], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:  # I2, I3
    worker, done = Member(new_broker()), []

    def work(_seconds: float) -> None:
        for lease in worker.take():
            done.append(lease.stored_id)
            worker.broker.report([success(lease)])

    # The producer pauses before it sends again; meanwhile the job runs.
    pausing = SimpleNamespace(**(vars(time) | {"sleep": work}))
    monkeypatch.setattr("spinach_redis.producer.time", pausing)
    producer = new_broker(proxy.url)
    proxy.lose(Loss.ANSWER, script.ENQUEUE.sha)
    job = deposit(max_retries=0)
    assert producer.enqueue([job]) == [True]
    assert done == [job.stored_id]
    [counts] = producer.counts([QUEUE])
    assert (counts.unfinished, counts.enqueued) == (0, 1)


@pytest.mark.parametrize("count", [1, 2])
def test_job_that_is_stored_is_not_stored_again_under_another_session(
    new_broker: Callable[..., RedisBroker], count: int
) -> None:  # I2
    jobs = [deposit() for _ in range(count)]
    for _ in range(3):
        # Each broker has sessions of its own.
        assert new_broker().enqueue(jobs) == [True] * count
    [counts] = new_broker().counts([QUEUE])
    assert (counts.ready, counts.enqueued) == (count, count)
    assert len(Member(new_broker()).take(idle=10)) == count
