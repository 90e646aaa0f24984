"""Workers put records of a later release aside, unharmed, and say so (I13)."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from spinach import Engine, Tasks
from spinach.brokers.calls import Deposit, FetchTurn
from spinach.const import MAX_FETCH_BYTES
from spinach.record.header import RECORD_VERSION
from spinach_redis import RedisBroker

from .jobs import Member
from .servers import Server

NEWER = RECORD_VERSION + 1
PARK = f"record|{NEWER}"


@pytest.mark.parametrize("kind", ["0", "1"], ids=["at most once", "at least once"])
def test_worker_parks_a_record_of_the_next_version_and_spends_no_attempt(
    new_broker: Callable[..., RedisBroker],
    server: Server,
    namespace: str,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "spinach.job")
    done: list[str] = []
    tasks = Tasks()
    # With a limit, so that the scripts look at the record as well.
    tasks.add(done.append, "note", max_concurrency=1)
    engine = Engine(RedisBroker.from_url(server.unix_url), namespace)
    engine.attach_tasks(tasks)
    record = f"{NEWER}|0|-|spinach|note\n\x00a payload of another form".encode()
    later = Deposit("spinach", f"{kind}{uuid.uuid4()}", record)
    producer = new_broker()
    producer.enqueue([later])
    engine.schedule("note", "a job that can be read")
    engine.start_workers(1, stop_when_queue_empty=True)
    assert done == ["a job that can be read"]
    [counts] = producer.counts(["spinach"])
    assert (counts.parked, counts.failed, counts.retrying, counts.ready) == (1, 0, 0, 0)
    [told] = [each for each in caplog.records if "cannot read" in each.getMessage()]
    assert told.job_id == later.stored_id[1:]
    assert "Run it with the release that wrote it" in told.getMessage()
    # A process of the release that reads such records gets it as it was sent.
    turn = Member(producer, "spinach").turn()
    asked = FetchTurn(turn.queue, turn.member, turn.number, (PARK,))
    [reply] = producer.fetch([asked], idle=1, extra=0, max_bytes=MAX_FETCH_BYTES)
    [lease] = reply.leases
    assert (lease.record, lease.retries, lease.losses) == (record, 0, 0)
