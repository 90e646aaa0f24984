"""Where jobs are, for people who look for them; the caller has the store's lock."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from spinach import const
from spinach.brokers.calls import FoundJob, FoundPage, Place
from spinach.exc import InvalidArgument

from .jobs import task_of
from .queue import read_token

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .jobs import Line, StoredJob
    from .members import Member
    from .queue import Queue

__all__ = ["find", "page", "read_cursor"]

#: Jobs that one page looks at, at most.
_LOOKED: Final = 1000

_NUMBER: Final = attrgetter("number")

_CURSOR: Final = re.compile(r"([0-9]+)-([0-9]+)")

#: An instant or a number, and the number of the job: what pages are ordered by.
_Rank = tuple[int, int]


def find(queue: Queue, stored_id: str, now_ms: int, *, counting: bool) -> FoundJob | None:
    """A job, and where it is; None where the queue has none of that id.

    Args:
        queue: to look into.
        stored_id: of the job.
        now_ms: the store's now.
        counting: also count the jobs before it, as far as that is cheap.
    """
    job = queue.jobs.get(stored_id)
    if job is None:
        return None
    failed = queue.failed.get(stored_id)
    if failed is not None:
        if failed.failed_at_ms < queue.oldest_failed_ms(now_ms):
            return None
        return FoundJob(
            queue=queue.name,
            stored_id=job.stored_id,
            record=job.record,
            place=Place.FAILED,
            retries=job.retries,
            losses=job.losses,
            failed_ms=failed.failed_at_ms,
            failure=failed.failure,
        )
    for member in queue.members:
        if stored_id in member.running:
            return _leased(queue, job, member)
    where = job.where
    ahead, exact = _ahead(queue, job) if counting else (None, False)
    return FoundJob(
        queue=queue.name,
        stored_id=job.stored_id,
        record=job.record,
        place=Place.READY if where is None else where.place,
        retries=job.retries,
        losses=job.losses,
        ahead=ahead,
        ahead_exact=exact,
        lane="" if where is None else where.lane,
        due_ms=None if where is None else where.due_ms,
        failure=job.failure,
    )


def _leased(queue: Queue, job: StoredJob, member: Member) -> FoundJob:
    lease = member.running[job.stored_id]
    return FoundJob(
        queue=queue.name,
        stored_id=job.stored_id,
        record=job.record,
        place=Place.LEASED,
        retries=job.retries,
        losses=job.losses,
        member=member.name,
        info=member.enrolment.info,
        leased_ms=read_token(lease.token)[1],
        direct=lease.direct,
        cancel_requested=job.stored_id in queue.cancelling,
        progress=queue.progress.get(job.stored_id),
        failure=job.failure,
    )


def _ahead(queue: Queue, job: StoredJob) -> tuple[int | None, bool]:
    """How many jobs come before one, and whether that is the number."""
    where = job.where
    if where is None:
        return _before(queue.ready, job)
    if where.place is Place.HELD:
        return _before(queue.limits.tasks[where.lane].held, job)
    if where.place is Place.PARKED:
        return _before(queue.parked[where.lane], job)
    count = queue.future.before(job, const.MOST_COUNTED)
    return count, count is not None


def _before(line: Line, job: StoredJob) -> tuple[int, bool]:
    count = 0
    for each in islice(line, const.MOST_COUNTED):
        if each is job:
            return count, True
        count += not each.cancelled
    return count, False


def page(
    queue: Queue,
    now_ms: int,
    *,
    places: Collection[Place],
    task: str | None,
    after: _Rank | None,
    limit: int,
) -> FoundPage:
    """A page of jobs, as `JobsRole.list_jobs` has it.

    Args:
        queue: to look into.
        now_ms: the store's now.
        places: where they are; empty: anywhere.
        task: of the jobs; None: any.
        after: as the cursor has it; None begins.
        limit: how many at most.
    """
    [only] = places if len(places) == 1 else [None]
    found: list[FoundJob] = []
    for looked, (rank, stored_id) in enumerate(_behind(queue, only, after)):
        if len(found) == limit or looked == _LOOKED:
            return FoundPage(jobs=tuple(found), cursor=f"{after[0]}-{after[1]}" if after else None)
        after = rank
        job = find(queue, stored_id, now_ms, counting=False)
        if job is None or (places and job.place not in places):
            continue
        if task is None or task_of(job.record) == task:
            found.append(job)
    return FoundPage(jobs=tuple(found), cursor=None)


def _behind(queue: Queue, place: Place | None, after: _Rank | None) -> Iterator[tuple[_Rank, str]]:
    """The jobs behind a rank that may be in a place, or in any, in the order of their ranks."""
    if place is Place.LEASED:
        ranked = sorted(
            ((read_token(lease.token)[0], queue.jobs[lease.stored_id].number), lease.stored_id)
            for member in queue.members
            for lease in member.running.values()
        )
        return (each for each in ranked if after is None or each[0] > after)
    if place is Place.FUTURE:
        waiting = queue.future.behind(after)
        return (((due_ms, order), job.stored_id) for due_ms, order, job in waiting)
    if place is Place.FAILED:
        failed = queue.failed.behind(after)
        return (((cursor.at_ms, cursor.order), cursor.stored_id) for cursor in failed)
    # They stand there as they came.
    jobs = list(queue.jobs.values())
    first = 0 if after is None else bisect_right(jobs, after[0], key=_NUMBER)
    return (((job.number, 0), job.stored_id) for job in islice(jobs, first, None))


def read_cursor(cursor: str | None) -> _Rank | None:
    """What a cursor says.

    Raises:
        InvalidArgument: a page here did not give it.
    """
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidArgument(f"cursor is {cursor!r}, expected that of the page before.")
    return int(match[1]), int(match[2])
