"""Requests and replies of the broker contract, from the modules of its roles.

They are msgspec structs, for the reason that `spinach.outcome` gives. They live beside the
calls that take or answer them, so that a role reads in one file; here they have one address.
"""

from __future__ import annotations

from spinach.brokers.failed_store import (
    Cursor,
    FailedFilter,
    FailedJob,
    FailedPortion,
    PortionReply,
)
from spinach.brokers.housekeeping import FireReply, LostJob, PeriodicDue, RecoverReply, TickReply
from spinach.brokers.jobs import CancelReply, CancelVerdict, FoundJob, FoundPage, Place
from spinach.brokers.management import QueueCounts
from spinach.brokers.operating import (
    FlowSample,
    LimitState,
    MemberLease,
    MemberState,
    PeriodicState,
    PurgeReply,
    QueueMembers,
    QueueSurvey,
)
from spinach.brokers.results import Ending, JobEnd
from spinach.brokers.storing import Deposit
from spinach.brokers.verdict import TurnReply, Verdict
from spinach.brokers.working import (
    BeatProgress,
    BeatReply,
    Enrolment,
    FetchReply,
    FetchTurn,
    JoinReply,
    ReconcileReply,
    ReportReply,
    Turn,
)

__all__ = [
    "BeatProgress",
    "BeatReply",
    "CancelReply",
    "CancelVerdict",
    "Cursor",
    "Deposit",
    "Ending",
    "Enrolment",
    "FailedFilter",
    "FailedJob",
    "FailedPortion",
    "FetchReply",
    "FetchTurn",
    "FireReply",
    "FlowSample",
    "FoundJob",
    "FoundPage",
    "JobEnd",
    "JoinReply",
    "LimitState",
    "LostJob",
    "MemberLease",
    "MemberState",
    "PeriodicDue",
    "PeriodicState",
    "Place",
    "PortionReply",
    "PurgeReply",
    "QueueCounts",
    "QueueMembers",
    "QueueSurvey",
    "ReconcileReply",
    "RecoverReply",
    "ReportReply",
    "TickReply",
    "Turn",
    "TurnReply",
    "Verdict",
]
