"""What follows from the samples of a queue: how fast jobs come and end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinach.brokers.calls import QueueSurvey

__all__ = ["Flow"]

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How many jobs came into a queue and how many ended, over a span up to now."""

    #: Jobs that were scheduled, also for later, or run again out of the failed store.
    came: int
    #: Jobs that succeeded, failed for good, expired or were cancelled. A retry is no end, and
    #: purged jobs do not count.
    ended: int
    #: The span. The store keeps samples each ten seconds of the last minute, and each five minutes
    #: of the last hour, while workers of the queue live: so it is a little longer than what was
    #: asked for, shorter where the queue is younger, longer where no worker lived.
    over: timedelta

    @property
    def came_per_second(self) -> float:
        """The rate at which jobs come."""
        return self.came / self.over.total_seconds()

    @property
    def ended_per_second(self) -> float:
        """The rate at which jobs end."""
        return self.ended / self.over.total_seconds()


def flow_over(survey: QueueSurvey, span: timedelta) -> Flow | None:
    """The flow of a queue over the last minute, hour or the like.

    Args:
        survey: of the queue.
        span: the youngest sample that is as old counts or, if there is none, the oldest one.

    Returns:
        None where no sample is left.
    """
    ages = [(survey.now_ms - sample.at_ms, sample) for sample in survey.samples]
    ages = [(age_ms, sample) for age_ms, sample in ages if age_ms > 0]
    if not ages:
        return None
    wanted_ms = span // _MILLISECOND
    old_enough = [pair for pair in ages if pair[0] >= wanted_ms]
    age_ms, sample = (
        min(old_enough, key=lambda pair: pair[0])
        if old_enough
        else max(ages, key=lambda pair: pair[0])
    )
    return Flow(
        came=max(0, survey.came - sample.came),
        ended=max(0, survey.ended - sample.ended),
        over=timedelta(milliseconds=age_ms),
    )
