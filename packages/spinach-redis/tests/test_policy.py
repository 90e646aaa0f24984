"""What all brokers decide alike stands in `spinach.const`, and the scripts say the same."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

import spinach_memory
from spinach import const
from spinach.outcome import Failure
from spinach_memory.failed import FailedStore
from spinach_memory.jobs import StoredJob
from spinach_redis.failure import encode_failure

#: Constants of the scripts, by file and name, that are some of `spinach.const`.
SHARED = {
    ("beat", "CANCELS_TOLD"): const.CANCELS_TOLD,
    ("fetch", "MOST_HELD"): const.SET_ASIDE_CHUNK,
    ("fetch", "PARKS_TOLD"): const.PARKS_TOLD,
    ("purge", "MOST"): const.PURGE_CHUNK,
    ("shared/flow", "COARSE"): const.COARSE_SAMPLES,
    ("shared/flow", "COARSE_MS"): const.COARSE_SAMPLE_MS,
    ("shared/flow", "FINE"): const.FINE_SAMPLES,
    ("shared/flow", "FINE_MS"): const.FINE_SAMPLE_MS,
    ("shared/failed", "TRIM"): const.HOUSEKEEPING_CHUNK,
    ("shared/look", "MOST_COUNTED"): const.MOST_COUNTED,
    ("shared/members", "NAMING_MS"): const.NAMING_MS,
    ("shared/members", "STEP_MS"): const.STEP_MS,
    ("shared/wake", "RENEW_MS"): const.RENEWAL_MS,
    ("shared/wake", "TIMEKEEPER_MS"): const.TIMEKEEPER_MS,
}

#: Those that only a server needs: how it reads and writes. Equal names are one number.
OWN = {
    "AT_ONCE": 20,
    "BUFFERED": 2**52,
    "DAY_MS": 24 * 60 * 60 * 1000,
    "FIRST": 5,
    "FIRST_IDS": 100,
    "FIRST_PEEK": 10,
    "LANES": 100,
    "MOST_ASKED": 2500,
    "MOST_GAPS": 500,
    "MOST_HOLES": 1000,
    "MOST_LOOKED": 500,
    "MOST_US": 2**53,
    "MOVES": 500,
    "NEVER": 2**53,
    "PEEK": 100,
    "PORTION": 1000,
    "RECORDS": 100,
    "SAME_INSTANT": 2048,
    "SIGNAL_MS": 10_000,
    "TRIM_MORE": 900,
    "TRIM_RESULTS": 100,
}


def constants() -> dict[tuple[str, str], int]:
    """The numbers that scripts give names to, by file and name."""
    folder = files("spinach_redis") / "scripts"
    found = {}
    for path, place in [(folder, ""), (folder / "shared", "shared/")]:
        for file in path.iterdir():
            if not file.name.endswith(".lua"):
                continue
            text = file.read_text(encoding="ascii")
            for names, values in re.findall(r"^local ([A-Z_, ]+) = ([0-9*^, ]+)$", text, re.M):
                for name, value in zip(names.split(", "), values.split(", "), strict=True):
                    number = eval(value.replace("^", "**"))
                    found[place + file.name.removesuffix(".lua"), name] = number
    return found


def test_scripts_decide_by_the_numbers_of_the_policy() -> None:
    found = constants()
    assert {each: found.get(each) for each in SHARED} == SHARED


def test_each_number_of_the_scripts_is_shared_or_the_servers_own() -> None:
    own = {each: number for each, number in constants().items() if each not in SHARED}
    assert own == {(file, name): OWN.get(name) for file, name in own}


def test_memory_broker_has_no_number_of_its_own() -> None:
    for file in files(spinach_memory).iterdir():
        # How long a clock has to stand until somebody is told, how long a clock is asked to wait
        # at once, and how many jobs a page looks at concern no other broker.
        own = ("stopped_clock.py", "waiting.py", "finding.py")
        if file.name.endswith(".py") and file.name not in own:
            text = file.read_text(encoding="utf-8")
            assert re.findall(r"^_?[A-Z_]+(?:: Final)? = [0-9].*", text, re.M) == [], file.name


@pytest.mark.parametrize(
    "failure",
    [
        None,
        Failure(error="E", message="plain"),
        Failure(error="E", message='"\\\n\x00é漢\ud800', traceback="line\n"),
        Failure(error="E", message="m" * 99_999, traceback="漢" * 99_999),
    ],
)
def test_memory_broker_measures_reasons_as_the_server_keeps_them(failure: Failure | None) -> None:
    store = FailedStore()
    store.add(StoredJob("1id", b"record"), failure, 0)
    assert store.size == len(b"record") + len(encode_failure(failure))
