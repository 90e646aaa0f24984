"""The broker contract: what the engine asks of a store of jobs.

Each method is one atomic operation on the store; what it reads and writes is
told in its docstring, and `docs/design/states.md` holds the invariants (I1 to
I24) that all of them keep. A broker holds no job and decides nothing: buffer,
retries and timing are the engine's. It carries no thread of its own.

A broker never compares a client's clock with the store's: replies carry
differences in milliseconds, requests carry durations, or instants that mean the
store's clock.

The methods stand in the modules of the roles that `Broker` joins.
"""

from __future__ import annotations

from abc import abstractmethod

from spinach.brokers.failed_store import FailedStoreRole
from spinach.brokers.housekeeping import HousekeepingRole
from spinach.brokers.jobs import JobsRole
from spinach.brokers.management import ManagementRole
from spinach.brokers.operating import OperatingRole
from spinach.brokers.results import ResultsRole
from spinach.brokers.storing import StoringRole
from spinach.brokers.working import WorkingRole

__all__ = ["Broker"]


class Broker(
    StoringRole,
    WorkingRole,
    HousekeepingRole,
    ManagementRole,
    OperatingRole,
    JobsRole,
    FailedStoreRole,
    ResultsRole,
):
    """Stores jobs and hands them out under leases.

    One instance is one worker process in the eyes of the store and serves one
    engine for life. Building one opens no connection and starts no thread.
    Every method may be called from any thread at any time, and survives a fork:
    in the child the instance opens connections of its own.

    **Failure.** `enqueue`, `queues` and the methods for operators, on jobs, the failed store and
    results raise `BrokerError`. The methods that workers call (those of the working and
    housekeeping roles, and `counts`) never raise for what passes by itself, such as a server that
    is down: they answer `Verdict.UNKNOWN` with the error, because the engine has to go on, and
    what it does next depends on not knowing whether the call was carried out. They raise
    `BrokerError` for what needs a person, such as a password that is refused at the first
    call. One that was accepted before may be refused for a while: that passes, too.

    Args:
        clock: what the engine takes for time; a virtual one in tests.
        lease: how long a worker process owns its jobs without proof of life,
            at least ten seconds.
        max_payload_bytes: limit of a job's encoded arguments.
        failed_retention: what the failed store of a queue keeps, as soon as this process
            consumes that queue.

    Raises:
        InvalidArgument: a lease below ten seconds, a limit below one byte, a retention that
            is none.
    """

    @abstractmethod
    def close(self) -> None:
        """Give up connections; the next call opens new ones. Twice is fine."""
