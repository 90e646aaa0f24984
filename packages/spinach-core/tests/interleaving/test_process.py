"""A whole worker process, built from the real arbiter, subscriber, notifier and workers,
under every order of their steps in small cases (I1, I3, I6, I17, I20)."""

from __future__ import annotations

import types

import pytest

from .explorer import explore
from .model import ModelBroker, Process


def small_case(*, jobs=(), later=(), workers=1, room=0, stop=True, lose=(), lose_reports=()):
    """A process that has `jobs` at the start, gets `later` ones, and is stopped at some
    moment; when not `stop`, it ends by itself once the queue is empty."""

    def program(run):
        broker = ModelBroker(run, jobs, lose=lose, lose_reports=lose_reports)
        process = Process(run, broker, workers=workers, room=room, stop_when_empty=not stop)

        def main():
            for job in later:
                broker.add(job)
            if stop:
                process.arbiter.stop()

        run.thread("main", main)

        def check():
            process.check([*jobs, *later])
            if not stop:
                assert not broker.ready, "ended before the queue was empty"
            in_order = [job for job in [*jobs, *later] if job in broker.ready]
            assert broker.ready == in_order, "releases lost their order"

        return process, check

    return program


@pytest.fixture(autouse=True)
def standing_time(monkeypatch):
    """Real time stands still as well: a thread that has read it would stand in a state of its
    own in each execution, and no two orders would ever meet."""
    standing = types.SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None)
    for thread in ("notifier", "subscriber"):
        monkeypatch.setattr(f"spinach.worker.{thread}.time", standing)


CASES = {
    "one job and a stop at any moment": {"jobs": ["1a"]},
    "an at-most-once job and a stop": {"jobs": ["0a"]},
    "a job that comes while all wait": {"later": ["1a"]},
    "ends by itself": {"jobs": ["1a"], "stop": False},
    "the answer of a fetch is lost": {"jobs": ["1a"], "lose": [1]},
    "the answer of a report is lost": {"jobs": ["1a"], "lose_reports": [1]},
}


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_order_of_steps_loses_doubles_or_keeps_a_job(case):
    report = explore(small_case(**case))

    assert report.states >= 3_000
