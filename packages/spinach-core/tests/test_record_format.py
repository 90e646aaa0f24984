"""Records lie in stores while releases change: their bytes stay what golden/ says.

The file of a version is written once. Releases after it read what it holds, for as long as
a store may hold such records.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from spinach import Tasks
from spinach.brokers.calls import Deposit, Enrolment, FetchTurn, Verdict
from spinach.const import MAX_FETCH_BYTES
from spinach.exc import PayloadTooLarge
from spinach.record.header import (
    READABLE_PARKS,
    RECORD_VERSION,
    Header,
    UnreadableRecord,
    header_line,
    read_header,
)
from spinach.record.ids import stored_id
from spinach.record.options import RecordOptions, read_options
from spinach.record.payload import complete_payload, decode_payload, encode_arguments
from spinach_memory import MemoryBroker

from .support import Bench, Ear

GOLDEN = Path(__file__).parent / "golden"
CURRENT = GOLDEN / f"record-v{RECORD_VERSION}.json"

CHANGED = (
    f"Records of version {RECORD_VERSION} already lie in stores as {CURRENT.name} says, and "
    "releases that are out there read them so. To change the layout: raise RECORD_VERSION, "
    f"go on reading version {RECORD_VERSION}, and write golden/record-v"
    f"{RECORD_VERSION + 1}.json beside it. Never edit a golden file to make a test pass."
)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def cases(path: Path, *kinds: str) -> list[Any]:
    return [pytest.param(case, id=case["case"]) for kind in kinds for case in load(path)[kind]]


def every(*kinds: str) -> list[Any]:
    """The cases of all versions that this release has to read."""
    return [case for path in sorted(GOLDEN.glob("record-v*.json")) for case in cases(path, *kinds)]


def test_each_version_up_to_the_current_one_has_its_file() -> None:
    files = {path.name: load(path)["version"] for path in GOLDEN.glob("record-v*.json")}
    versions = range(1, RECORD_VERSION + 1)
    assert files == {f"record-v{number}.json": number for number in versions}, CHANGED


@pytest.mark.parametrize("case", cases(CURRENT, "written"))
def test_records_are_written_as_the_golden_file_says(case: dict[str, Any]) -> None:
    line = header_line(max_retries=case["max_retries"], queue=case["queue"], task=case["task"])
    arguments = encode_arguments(case["args"], case["kwargs"], task="t")
    payload = complete_payload(arguments, case["at_ms"], limit_bytes=10**6, task="t")
    assert line + payload == case["record"].encode(), CHANGED


@pytest.mark.parametrize("case", every("written", "read"))
def test_records_are_read_as_the_golden_file_says(case: dict[str, Any]) -> None:
    record = case["record"].encode()
    header = Header(case["max_retries"], case["queue"], case["task"])
    assert read_header(record) == header, CHANGED
    expected = (case["args"], case["kwargs"], case["at_ms"])
    # Texts tell 1 from 1.0 and True, and 0.0 from -0.0.
    assert repr(decode_payload(record)) == repr(expected), CHANGED


@pytest.mark.parametrize("case", cases(CURRENT, "parked"))
def test_records_of_other_releases_go_to_the_park_that_the_golden_file_says(
    case: dict[str, Any],
) -> None:
    with pytest.raises(UnreadableRecord) as info:
        read_header(case["record"].encode())
    assert info.value.park == case["park"], CHANGED


@pytest.mark.parametrize("case", load(CURRENT)["stored ids"])
def test_stored_ids_are_as_the_golden_file_says(case: dict[str, Any]) -> None:
    assert stored_id(case["job"], case["max_retries"]) == case["stored id"], CHANGED


def test_this_release_takes_up_what_earlier_ones_parked() -> None:
    readable = {f"record|{number}" for number in range(1, RECORD_VERSION + 1)}
    flags = ("h", "r", "x", "hr", "hx", "rx", "hrx")
    assert readable | {f"record|1+{letters}" for letters in flags} == READABLE_PARKS


@pytest.mark.parametrize("case", cases(GOLDEN / "options-v1.json", "written"))
def test_options_are_written_and_read_as_the_golden_file_says(case: dict[str, Any]) -> None:
    options = RecordOptions(**case["options"])
    line = header_line(max_retries=1, queue="q", task="t", flags=options.flags)
    arguments = encode_arguments(case["args"], {}, task="t")
    payload = complete_payload(arguments, 3, limit_bytes=10**6, task="t", options=options)
    record = line + payload
    assert record == case["record"].encode(), CHANGED
    assert read_header(record) == Header(1, "q", "t", case["flags"])
    assert read_options(record) == options
    assert decode_payload(record) == (case["args"], {}, 3)


def test_options_that_are_damaged_are_unreadable() -> None:
    for payload in (b"[[],{},3]", b"[[],{},3,4]", b'[[],{},3,{"expires_ms":"soon"}]', b"", b"x"):
        with pytest.raises(UnreadableRecord, match="damaged"):
            read_options(b"1|1|x|q|t\n" + payload)


@pytest.mark.parametrize("flags", ["xh", "hh", "hz", "-h"])
def test_flags_out_of_order_are_none_of_ours(flags: str) -> None:
    with pytest.raises(UnreadableRecord):
        read_header(f"1|1|{flags}|q|t\n".encode())


def test_options_count_for_the_limit_of_the_payload() -> None:
    options = RecordOptions(headers={"a": "b" * 50})
    complete_payload(b"[[],{}", 3, limit_bytes=40, task="t")
    with pytest.raises(PayloadTooLarge):
        complete_payload(b"[[],{}", 3, limit_bytes=40, task="t", options=options)


@pytest.mark.parametrize("kind", ["0", "1"], ids=["at most once", "at least once"])
def test_worker_parks_a_record_of_the_next_version_and_spends_no_attempt(
    bench: Bench, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spinach.job")
    done: list[str] = []
    tasks = Tasks()
    tasks.add(done.append, "note")
    engine = bench.engine(tasks, namespace="app")
    number = RECORD_VERSION + 1
    record = f"{number}|0|-|spinach|note\na payload of another form".encode()
    later = Deposit("spinach", f"{kind}{uuid.uuid4()}", record)
    bench.brokers[engine].enqueue([later])
    engine.schedule("note", "a job that can be read")
    with Ear("app") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    counts = bench.counts(engine)
    assert done == ["a job that can be read"]
    assert (counts.parked, counts.failed, counts.retrying, counts.ready) == (1, 0, 0, 0)
    # Neither started nor failed: signals tell of the other job alone.
    assert [name for name, _ in ear.jobs] == ["job_started", "job_finished"]
    [told] = [each for each in caplog.records if "cannot read" in each.getMessage()]
    assert told.job_id == later.stored_id[1:]
    assert f"{number}|0|-|spinach|note" in told.getMessage()
    assert "Run it with the release that wrote it" in told.getMessage()
    assert take_from_park(bench, f"record|{number}") == (record, 0, 0)


def take_from_park(bench: Bench, park: str) -> tuple[bytes, int, int]:
    """What a process of the release that reads such records would get."""
    broker = MemoryBroker(bench.store, clock=bench.clock)
    broker.bind("app", bench)
    broker.join("spinach", "newer", Enrolment(lease_ms=30_000))
    turn = FetchTurn("spinach", "newer", 1, (park,))
    [reply] = broker.fetch([turn], idle=1, extra=0, max_bytes=MAX_FETCH_BYTES)
    assert reply.verdict is Verdict.APPLIED
    [lease] = reply.leases
    return lease.record, lease.retries, lease.losses
