"""What type checkers make of a broker's roles, and of brokers that pass calls on.

See `scheduling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from spinach import MemoryBroker
from spinach.brokers.base import Broker
from spinach.brokers.calls import (
    Cursor,
    Deposit,
    FailedFilter,
    FailedJob,
    FailedPortion,
    PortionReply,
    QueueCounts,
    RecoverReply,
    ReportReply,
    TickReply,
)
from spinach.brokers.failed_store import FailedStoreRole
from spinach.brokers.housekeeping import HousekeepingRole
from spinach.brokers.management import ManagementRole
from spinach.brokers.operating import OperatingRole, PurgeReply
from spinach.brokers.storing import StoringRole
from spinach.brokers.working import WorkingRole
from spinach.clock import Clock
from spinach.record.ids import stored_id
from spinach_testing.conformance.breakers import Breaker
from spinach_testing.passing import PassingBroker

# -- roles --------------------------------------------------------------------------

broker: Broker = MemoryBroker()


def use(
    storing: StoringRole,
    working: WorkingRole,
    housekeeping: HousekeepingRole,
    management: ManagementRole,
    operating: OperatingRole,
    failed_store: FailedStoreRole,
) -> None:
    assert_type(storing.enqueue([Deposit("q", stored_id("x", 1), b"")]), list[bool])
    assert_type(working.report([]), ReportReply)
    assert_type(housekeeping.recover("q", "m"), RecoverReply)
    assert_type(management.counts(["q"]), list[QueueCounts])
    assert_type(operating.purge("q", "queued", 1), PurgeReply)
    operating.purge("q", "running", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(failed_store.retry_failed("q", []), int)
    assert_type(failed_store.find_failed(["q"], []), list[FailedJob])
    portion = FailedPortion(matching=FailedFilter(task="t"), until=Cursor(0, 0, ""))
    assert_type(failed_store.retry_matching("q", portion), PortionReply)
    assert_type(failed_store.discard_matching("q", portion).after, Cursor | None)
    assert_type(storing.clock, Clock)
    storing.recover("q", "m")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    use(working, working, working, working, working, working)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


use(broker, broker, broker, broker, broker, broker)


class Half(Broker):
    def close(self) -> None: ...


Half()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


# -- passing on ---------------------------------------------------------------------


class Late(PassingBroker):
    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        return super().tick(queue, periodic)


class Wrong(Breaker):
    def leave(self) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


assert_type(Late(broker).queues(), list[str])
assert_type(Late(broker).inner, Broker)
PassingBroker(MemoryBroker()).peek("q")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
