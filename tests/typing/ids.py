"""What type checkers make of ids: that of a job, and the one it is stored under, are two things."""

from __future__ import annotations

import uuid
from typing import assert_type

from spinach.brokers.calls import Deposit
from spinach.outcome import Lease
from spinach.record.ids import StoredId, job_id_of, may_repeat, stored_id

text = str(uuid.uuid4())


def read(lease: Lease, deposit: Deposit) -> None:
    assert_type(lease.stored_id, StoredId)
    assert_type(stored_id(text, 3), StoredId)
    assert_type(job_id_of(deposit.stored_id), str)
    assert_type(may_repeat(lease.stored_id), bool)
    # A stored id is text, too.
    plain: str = lease.stored_id
    assert plain
    job_id_of(text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    may_repeat(job_id_of(lease.stored_id))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Deposit("mail", text, b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
