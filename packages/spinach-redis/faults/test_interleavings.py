"""Two mishaps at once on one queue, their steps in every order.

Seven hazards of four steps make 28 pairs, each with 70 orders. The bounded run takes the two
in which one comes after the other, and one by chance; the full run takes all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

import pytest
from redis import Redis

from ..tests.servers import running_server
from .hazards import HAZARDS, Hazard
from .results import Record
from .scene import version_of
from .sides import server_time_stands_still
from .stage import HazardScene

STEPS = 4

#: Each order as the positions at which the first hazard makes its steps.
ORDERS = list(combinations(range(2 * STEPS), STEPS))
ONE_AFTER_THE_OTHER = [(0, 1, 2, 3), (4, 5, 6, 7)]


@pytest.fixture(scope="module")
def client() -> Iterator[Redis]:
    # A server of its own: one hazard makes it full for a moment.
    with running_server() as server, server.client() as client:
        yield client


def play(client: Redis, one: Hazard, other: Hazard, order: tuple[int, ...]) -> int:
    """Make the steps of both in the order, and look at all keys after each; the jobs."""
    scene = HazardScene(client)
    steps = one(scene), other(scene)
    for position in range(2 * STEPS):
        next(steps[0] if position in order else steps[1], None)
        scene.look()
    assert all(next(each, "over") == "over" for each in steps), "a hazard has more steps"
    scene.end()
    return len(scene.accepted)


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda hazard: hazard.__name__)
def test_nothing_is_lost_or_doubled_by_two_hazards_in_any_order(
    hazard: Hazard, client: Redis, full: bool, rng: random.Random, record: Record
) -> None:
    runs = jobs = 0
    # With itself, and with those that come later in the list; the others have had it.
    for partner in HAZARDS[HAZARDS.index(hazard) :]:
        orders = ORDERS if full else [*ONE_AFTER_THE_OTHER, rng.choice(ORDERS)]
        for order in orders:
            try:
                with server_time_stands_still():
                    jobs += play(client, hazard, partner, order)
            except AssertionError as error:
                error.add_note(
                    f"with {partner.__name__}; the first made its steps at the positions {order}"
                )
                raise
            finally:
                client.flushall()
            runs += 1
    name = hazard.__name__.replace("_", " ")
    record(
        f"script interleavings: {name}, with itself and each hazard after it",
        runs=runs,
        jobs=jobs,
        server=version_of(client),
    )
