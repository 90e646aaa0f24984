"""All behaviours as one test class, and as a list to run without pytest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .behaviours.bounds import BoundsBehaviour
from .behaviours.buffer import BufferBehaviour
from .behaviours.cancelling import CancelBehaviour
from .behaviours.clock import ClockBehaviour
from .behaviours.counts import CountsBehaviour
from .behaviours.declaring import DeclaringBehaviour
from .behaviours.empty import EmptyBehaviour
from .behaviours.ends import EndsBehaviour
from .behaviours.enqueue import EnqueueBehaviour
from .behaviours.failed_store import FailedStoreBehaviour
from .behaviours.fencing import FencingBehaviour
from .behaviours.fetch import FetchBehaviour
from .behaviours.fidelity import FidelityBehaviour
from .behaviours.found import FoundBehaviour
from .behaviours.jobs import FindingBehaviour
from .behaviours.kinds import KindsBehaviour
from .behaviours.lease import LeaseBehaviour
from .behaviours.leave import LeaveBehaviour
from .behaviours.life import LifeBehaviour
from .behaviours.limits import LimitsBehaviour
from .behaviours.looking import LookingBehaviour
from .behaviours.matching import MatchingBehaviour
from .behaviours.names import NamesBehaviour
from .behaviours.namespaces import NamespacesBehaviour
from .behaviours.nested import NestedBehaviour
from .behaviours.options import OptionsBehaviour
from .behaviours.outcome import OutcomeBehaviour
from .behaviours.overrides import OverridesBehaviour
from .behaviours.parks import ParksBehaviour
from .behaviours.pausing import PausingBehaviour
from .behaviours.periodic import PeriodicBehaviour
from .behaviours.purging import PurgingBehaviour
from .behaviours.reconciliation import ReconciliationBehaviour
from .behaviours.recovery import RecoveryBehaviour
from .behaviours.release import ReleaseBehaviour
from .behaviours.results import ResultsBehaviour
from .behaviours.retention import RetentionBehaviour
from .behaviours.retry import RetryBehaviour
from .behaviours.schedule import ScheduleBehaviour
from .behaviours.threads import ThreadsBehaviour
from .behaviours.wakeup import WakeupBehaviour
from .invariants import invariants_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .lab import Lab

__all__ = ["BrokerConformance", "ConformanceTest", "conformance_tests"]


class BrokerConformance(
    EnqueueBehaviour,
    FetchBehaviour,
    KindsBehaviour,
    OutcomeBehaviour,
    RetryBehaviour,
    ScheduleBehaviour,
    PeriodicBehaviour,
    LimitsBehaviour,
    DeclaringBehaviour,
    LeaseBehaviour,
    RecoveryBehaviour,
    FencingBehaviour,
    ClockBehaviour,
    ReconciliationBehaviour,
    ParksBehaviour,
    BufferBehaviour,
    ReleaseBehaviour,
    LeaveBehaviour,
    EmptyBehaviour,
    CountsBehaviour,
    FidelityBehaviour,
    OptionsBehaviour,
    FailedStoreBehaviour,
    FindingBehaviour,
    FoundBehaviour,
    CancelBehaviour,
    MatchingBehaviour,
    RetentionBehaviour,
    ResultsBehaviour,
    EndsBehaviour,
    PausingBehaviour,
    PurgingBehaviour,
    OverridesBehaviour,
    LookingBehaviour,
    WakeupBehaviour,
    NamespacesBehaviour,
    NamesBehaviour,
    BoundsBehaviour,
    ThreadsBehaviour,
    NestedBehaviour,
    LifeBehaviour,
):
    """Every behaviour of the broker contract; give it a fixture named `harness`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceTest:
    """One test of the suite."""

    #: Class of the behaviour and name of the test, as in a pytest node id.
    name: str
    #: What it holds.
    invariants: tuple[str, ...]
    #: The class, which takes no arguments.
    behaviour: type
    #: Name of the method, which takes the lab.
    method: str

    def run(self, lab: Lab) -> None:
        """Run it on a lab of its own.

        Raises:
            AssertionError: the broker does not behave.
        """
        getattr(self.behaviour(), self.method)(lab)


def conformance_tests() -> Iterator[ConformanceTest]:
    """Every test of `BrokerConformance`, in the order of the behaviours."""
    for behaviour in BrokerConformance.__bases__:
        for method, test in vars(behaviour).items():
            if method.startswith("test_"):
                yield ConformanceTest(
                    name=f"{behaviour.__name__}::{method}",
                    invariants=invariants_of(test),
                    behaviour=behaviour,
                    method=method,
                )
