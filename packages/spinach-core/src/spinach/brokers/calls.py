"""Requests and replies of the broker contract, from the modules of its roles.

They are msgspec structs, for the reason that `spinach.outcome` gives. They live beside the
calls that take or answer them, so that a role reads in one file; here they have one address.
"""

from __future__ import annotations

from spinach.brokers.failed_store import Cursor, FailedJob
from spinach.brokers.housekeeping import FireReply, LostJob, PeriodicDue, RecoverReply, TickReply
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
from spinach.brokers.storing import Deposit
from spinach.brokers.verdict import TurnReply, Verdict
from spinach.brokers.working import (
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
    "BeatReply",
    "Cursor",
    "Deposit",
    "Enrolment",
    "FailedJob",
    "FetchReply",
    "FetchTurn",
    "FireReply",
    "FlowSample",
    "JoinReply",
    "LimitState",
    "LostJob",
    "MemberLease",
    "MemberState",
    "PeriodicDue",
    "PeriodicState",
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
