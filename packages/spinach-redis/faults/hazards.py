"""Ways in which messages come late, twice or not at all, each in four steps.

A hazard is a generator that plays one mishap on a queue it shares with another one. It yields
between its steps, so that a test can put the steps of two hazards into any order. Its
assertions say what the server must answer, whatever the other one did in between.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator

from spinach.outcome import OutcomeKind
from spinach_redis import requests

from .stage import HazardProcess, HazardScene

__all__ = ["HAZARDS", "Hazard", "Steps"]

Steps = Generator[None, None, None]
Hazard = Callable[[HazardScene], Steps]

#: All of them, in the order in which they stand here.
HAZARDS: list[Hazard] = []


def hazard(play: Hazard) -> Hazard:
    """Add one to `HAZARDS`."""
    HAZARDS.append(play)
    return play


@hazard
def late_fetch(scene: HazardScene) -> Steps:
    """A fetch is given up; its copy arrives after the reconciliation and a further fetch."""
    process = HazardProcess(scene)
    scene.fill(3)
    late = process.fetch_request(idle=2)
    yield
    assert process.reconcile() == ([], ())
    yield
    process.run(process.fetch(idle=1))
    yield
    [reply] = scene.send(late)
    assert reply[0] == b"STALE"


@hazard
def old_token(scene: HazardScene) -> Steps:
    """A job is given back and taken again; then the first outcome arrives once more."""
    process = HazardProcess(scene)
    scene.fill(4)
    leases = process.fetch(idle=4)
    yield
    old = [process.report_request(OutcomeKind.SUCCEEDED, each) for each in leases]
    assert process.report(OutcomeKind.RELEASE, *leases) == b"1" * len(leases)
    yield
    process.fetch(idle=2)
    yield
    assert [scene.send(each) for each in old] == [b"0"] * len(old)


@hazard
def zombie_outcome(scene: HazardScene) -> Steps:
    """A process stops past its lease, is recovered, and then reports what it did."""
    zombie, other = HazardProcess(scene), HazardProcess(scene)
    scene.fill(4)
    leases = zombie.fetch(idle=4)
    for lease in leases:
        zombie.start(lease)
    yield
    scene.outlive(zombie)
    yield
    answer = scene.send(requests.recover(scene.names, scene.offset, zombie.name))
    assert answer[0] == b"APPLIED"
    other.run(other.fetch(idle=1))
    yield
    assert zombie.report(OutcomeKind.SUCCEEDED, *leases) == b"0" * len(leases)
    assert zombie.leave() == b"FENCED"


@hazard
def late_enqueue(scene: HazardScene) -> Steps:
    """A chunk is sent again, its jobs are done, and then a first copy arrives."""
    chunk = scene.chunk("s" + uuid.uuid4().hex, 1, scene.enqueue(3))
    scene.send(chunk)  # and the answer is lost
    yield
    assert scene.send(chunk)[0] == b"OK"
    process = HazardProcess(scene)
    yield
    process.run(process.fetch(idle=3))
    yield
    enqueued = scene.counted()
    assert scene.send(chunk)[0] == b"OK"
    assert scene.counted() == enqueued


@hazard
def refused_chunk(scene: HazardScene) -> Steps:
    """A full server refuses the first of two chunks; the second must not overtake it."""
    session = "s" + uuid.uuid4().hex
    first, second = (scene.chunk(session, number, scene.enqueue(2)) for number in (1, 2))
    enqueued = scene.counted()
    scene.refuse(first)
    assert scene.counted() == enqueued
    yield
    assert scene.send(second)[0] == b"GAP"
    yield
    assert scene.send(first)[0] == b"OK"
    assert scene.send(second)[0] == b"OK"
    yield
    enqueued = scene.counted()
    assert scene.send(first)[0] == b"OK"
    assert scene.counted() == enqueued


@hazard
def double_recovery(scene: HazardScene) -> Steps:
    """Two processes recover a dead one, and a copy of the first request arrives late."""
    dead, _survivor = HazardProcess(scene), HazardProcess(scene)
    scene.fill(4)
    leases = dead.fetch(idle=4)
    yield
    scene.outlive(dead)
    recovery = requests.recover(scene.names, scene.offset, dead.name)
    yield
    answer = scene.send(recovery)
    assert answer[:2] == [b"APPLIED", 0]
    assert {each.decode() for each in answer[2][::4]} == {
        each.stored_id for each in leases if not each.repeatable
    }
    yield
    assert scene.send(recovery) == [b"REFUSED"]


@hazard
def release_and_fetch_with_lost_replies(scene: HazardScene) -> Steps:
    """Neither the answer to a release nor that to the next fetch comes back."""
    process = HazardProcess(scene)
    scene.fill(4)
    leases = process.fetch(idle=2)
    release = process.report_request(OutcomeKind.RELEASE, *leases)
    yield
    scene.released |= set(process.held)
    assert scene.send(release) == b"1" * len(leases)  # lost: it stays pending
    yield
    scene.send(process.fetch_request(idle=3))  # lost
    yield
    pending = set(process.held)
    missing, strays = process.reconcile()
    assert set(strays) == pending
    assert not {(each.stored_id, each.token) for each in missing} & pending
    assert scene.send(release) == b"0" * len(leases)  # sent again
    for pair in strays:
        del process.held[pair]
    # What came with the reconciliation has not run, here or elsewhere.
    process.run(missing)
