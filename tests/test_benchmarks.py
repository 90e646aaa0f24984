"""The benchmarks still run, and their sums are right. What they find is not judged here."""

from __future__ import annotations

import collections
import importlib
import itertools
import json
import os
import pkgutil
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest
from redis.crc import key_slot

ROOT = Path(__file__).parent.parent
# The harness is a folder of the repository and not a distribution.
sys.path.append(str(ROOT))

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import measures  # noqa: E402
from benchmarks.chart import bars  # noqa: E402
from benchmarks.cluster import even_queues  # noqa: E402
from benchmarks.environment import Environments  # noqa: E402
from benchmarks.goals import check_goals  # noqa: E402
from benchmarks.measures import ALL, Measure, Metric  # noqa: E402
from benchmarks.measures.drain import drained  # noqa: E402
from benchmarks.measures.mixed import overtaken  # noqa: E402
from benchmarks.page import page  # noqa: E402
from benchmarks.proxy import CommandCounter  # noqa: E402
from benchmarks.report import report  # noqa: E402
from benchmarks.results import Results  # noqa: E402
from benchmarks.roster import (  # noqa: E402
    AT_LEAST_ONCE,
    AT_MOST_ONCE,
    FLOOR,
    ROSTER,
    Contestant,
)
from benchmarks.runner import run  # noqa: E402
from benchmarks.server import find_binary, private_server  # noqa: E402
from benchmarks.stage import Stage  # noqa: E402
from benchmarks.stages import measure as measure_stages  # noqa: E402
from benchmarks.summary import percentile, summary  # noqa: E402
from benchmarks.usage import usage  # noqa: E402


@pytest.fixture
def results() -> Results:
    """Of a run in which Spinach drains thrice as fast as the better of two peers."""
    results = Results(setting={"server": "none"})
    rates = {FLOOR: [50_000, 60_000], AT_LEAST_ONCE: [6_000], "Dramatiq": [2_000], "Huey": [1_000]}
    for name, values in rates.items():
        results.cards[name] = {"version": "1.0", "guarantee": "as it says"}
        for value in values:
            results.add("drain", name, {"rate": value})
    return results


@pytest.fixture
def binary() -> None:
    """There is a server to measure on."""
    try:
        find_binary()
    except FileNotFoundError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.mark.usefixtures("binary")
def test_stages_of_a_job_are_all_timed() -> None:
    with private_server() as server:
        least = measure_stages(server.url)
        assert server.client.keys("*:jobs") == [], "every job was reported"
    assert len(least) == 5
    assert min(least.values()) > 0


@pytest.mark.usefixtures("binary")
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_smallest_run_of_floor_and_spinach_measures_what_it_should(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = [part for name in (FLOOR, AT_LEAST_ONCE) for part in ("--only", name)]
    measures = [part for name in ("drain", "batch") for part in ("--measure", name)]
    where = ["--json", str(tmp_path / "found.json"), "--plots", str(tmp_path / "plots")]
    assert command.main(["--quick", "--here", *only, *measures, *where]) == 0

    found = Results.load(tmp_path / "found.json")
    assert found.troubles == []
    for name in (FLOOR, AT_LEAST_ONCE):
        for measure, metric in (("drain", "rate"), ("drain", "cpu"), ("batch", "rate")):
            value = found.median(measure, name, metric)
            assert value is not None
            assert value > 0
    assert "≥ 50 % of the floor" in capsys.readouterr().out
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["batch.svg", "drain.svg"]


@pytest.mark.usefixtures("binary")
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_smallest_run_with_several_processes_and_on_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What comes out says nothing. That all of it comes out does, whatever the numbers of jobs.
    monkeypatch.setattr(command, "QUICK_SHARE", 100)
    only = [part for name in (FLOOR, AT_LEAST_ONCE) for part in ("--only", name)]
    names = ("scale", "cluster", "growth", "retries")
    measures = [part for name in names for part in ("--measure", name)]
    where = ["--json", str(tmp_path / "found.json"), "--plots", str(tmp_path / "plots")]
    assert command.main(["--quick", "--here", *only, *measures, *where]) == 0

    found = Results.load(tmp_path / "found.json")
    assert found.troubles == []
    for measure in (measure for measure in ALL if measure.name in found.values):
        ours = found.values[measure.name][AT_LEAST_ONCE]
        assert set(ours) == set(measure.metrics), measure.name
        assert all(value > 0 for values in ours.values() for value in values)
    assert found.values["cluster"][FLOOR] == {}, "it has no queues to spread"
    assert set(found.values) == set(names)


@pytest.fixture
def stage(binary: None, tmp_path: Path) -> Iterator[Stage]:
    with private_server() as server:
        yield Stage(server, Environments(tmp_path, here=True))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_jobs_may_have_more_arguments_than_a_command_line_holds(stage: Stage) -> None:
    floor = ROSTER[0]
    stage.schedule(floor, [("picked_up", [float(number)]) for number in range(10_000)])
    assert stage.pending(floor) == 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_what_jobs_told_is_known_after_the_end_of_their_worker(stage: Stage) -> None:
    floor = ROSTER[0]
    stage.enqueue(floor, "noop", 3)
    with stage.worker(floor, 1, expected=3) as work:
        work.await_events("last", 1, 30.0)
    assert [len(work.events(kind)) for kind in ("first", "last")] == [1, 1]
    with pytest.raises(RuntimeError, match="ended"):
        work.usage()


class _Counted(Measure):
    """Numbers its values in the order in which they are taken."""

    name = "counted"
    title = "Counted"
    metrics: ClassVar = {"place": Metric("place")}

    def __init__(self) -> None:
        self.places = itertools.count(1)

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        return {"place": next(self.places)}


def test_contestants_take_turns_in_each_repeat() -> None:
    stage: Any = mock.MagicMock()
    takers = [contestant for contestant in ROSTER if contestant.name in {AT_LEAST_ONCE, "Huey"}]
    kept: list[Results] = []
    found = run(stage, [_Counted()], takers, 3, say=lambda _: None, keep=kept.append)
    assert found.values["counted"] == {
        AT_LEAST_ONCE: {"place": [1, 3, 5]},
        "Huey": {"place": [2, 4, 6]},
    }
    assert kept == [found]


def test_value_that_no_table_would_show_is_refused() -> None:
    class Misspelt(_Counted):
        metrics: ClassVar = {"plaice": Metric("place")}

    with pytest.raises(ValueError, match=r"returned \['place'\], expected .* \['plaice'\]") as told:
        run(mock.MagicMock(), [Misspelt()], ROSTER[:1], 1, say=lambda _: None, keep=lambda _: None)
    assert told.value.__notes__ == [f"while measuring 'counted' of {ROSTER[0].name!r}"]


def test_every_peer_of_the_comparison_takes_part_and_has_an_adapter() -> None:
    peers = {contestant.adapter for contestant in ROSTER if contestant.kind == "peer"}
    assert peers == {"arq", "celery", "dramatiq", "huey", "rq", "saq", "streaq", "taskiq"}
    names = [contestant.name for contestant in ROSTER]
    assert len(names) == len(set(names))
    for contestant in ROSTER:
        assert (ROOT / f"benchmarks/contestants/{contestant.adapter}.py").is_file()


@pytest.mark.parametrize("nodes", [1, 3])
def test_queues_lie_evenly_on_the_nodes_of_a_cluster(nodes: int) -> None:
    queues = even_queues("bench", 6, nodes)
    assert len(set(queues)) == 6
    slots = [key_slot(f"bench/{queue}".encode()) for queue in queues]
    on_nodes = collections.Counter(slot * nodes // 16384 for slot in slots)
    assert list(on_nodes.values()) == [6 // nodes] * nodes


def test_measures_are_told_apart_by_name() -> None:
    names = [measure.name for measure in ALL]
    assert len(names) == len(set(names))
    assert "drain" in {measure.name for measure in ALL if measure.quick}


def test_each_measure_is_listed_and_told_of_in_the_documentation() -> None:
    written = {
        value
        for module in pkgutil.iter_modules(measures.__path__)
        for value in vars(importlib.import_module(f"{measures.__name__}.{module.name}")).values()
        if isinstance(value, type) and issubclass(value, Measure) and value is not Measure
    }
    unlisted = written - {type(measure) for measure in ALL}
    assert not unlisted, "Add them to ALL in benchmarks/measures/__init__.py, where tables stand."
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    table = text.partition("## What is measured\n")[2]
    told = {
        name.strip()
        for line in table.splitlines()
        if line.startswith("| ")
        for name in line.split("|")[1].split(",")
    }
    untold = {measure.name for measure in ALL} - told
    assert not untold, "Add rows to the table under 'What is measured' in docs/benchmarks.md."


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_measure_of_the_readme_measures(stage: Stage) -> None:
    readme = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    block = readme.partition("```python\n")[2].partition("```")[0]
    known = {**globals(), "ClassVar": ClassVar, "drained": drained}
    exec("from __future__ import annotations\n" + textwrap.dedent(block), known)
    [measure] = [
        value()
        for name, value in known.items()
        if isinstance(value, type) and issubclass(value, Measure) and name not in globals()
    ]
    stage.share = 100
    found = run(stage, [measure], ROSTER[:1], 1, say=lambda _: None, keep=lambda _: None)
    assert set(found.values[measure.name][FLOOR]) == set(measure.metrics)
    assert found.troubles == []


def test_prepared_environments_are_used_again(tmp_path: Path) -> None:
    contestant = next(contestant for contestant in ROSTER if contestant.adapter == "huey")
    (tmp_path / "huey").mkdir()
    (tmp_path / "huey" / "requirements").write_text("\n".join(contestant.requirements))
    python = Environments(tmp_path).python(contestant)
    assert python == tmp_path / "huey" / "bin" / "python"


def test_summary_is_the_median_with_the_range() -> None:
    found = summary([3.0, 1.0, 7.0])
    assert (found.median, found.low, found.high, found.count) == (3.0, 1.0, 7.0, 3)
    with pytest.raises(ValueError, match="no values"):
        summary([])


@pytest.mark.parametrize("percent, expected", [(50, 50.0), (99, 99.0), (100, 100.0), (0.5, 1.0)])
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == expected


@pytest.mark.parametrize("percent", [0, 101])
def test_percentiles_that_are_none_are_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="No percentile"):
        percentile([1.0], percent)


def test_goals_are_judged_by_ratios_within_the_run(results: Results) -> None:
    found = {check.goal: check for check in check_goals(results)}
    beside_peers = found[f"{AT_LEAST_ONCE}: rate ≥ 10 times the best peer"]
    assert (beside_peers.found, beside_peers.met) == ("3.00 times Dramatiq", False)
    # The median of the floor is 55,000.
    beside_floor = found[f"{AT_LEAST_ONCE}: rate ≥ 50 % of the floor"]
    assert (beside_floor.found, beside_floor.met) == ("11 %", False)
    assert len(found) == 2, "what was not measured is not judged"


def test_goal_that_is_reached_is_said_to_be_met(results: Results) -> None:
    results.values["drain"][AT_LEAST_ONCE]["rate"] = [27_500.0]
    assert [check.met for check in check_goals(results)] == [True, True]


def test_one_early_job_in_one_repeat_misses_the_goal() -> None:
    results = Results()
    for early in (0, 0, 1):
        results.add("future", AT_MOST_ONCE, {"early": early})
    [check] = check_goals(results)
    assert not check.met


def test_peer_that_starts_jobs_early_sets_no_mark_for_punctual_ones() -> None:
    results = Results()
    results.add("future", AT_LEAST_ONCE, {"p50": 4.0, "early": 0})
    results.add("future", "RQ", {"p50": 5.0, "early": 100})
    met = {check.goal: check.met for check in check_goals(results)}
    assert met[f"{AT_LEAST_ONCE}: p50 ≤ 2 ms, or the best peer's"] is False


def test_report_shows_values_guarantees_goals_and_troubles(results: Results) -> None:
    results.troubles.append("drain, RQ: it broke")
    text = report(results, ALL)
    [floor] = [line for line in text.splitlines() if FLOOR in line and "55,000" in line]
    assert floor.endswith("50,000 to 60,000")
    assert "as it says" in text
    assert "MISSED drain" in text
    assert "drain, RQ: it broke" in text


def test_page_shows_what_the_report_shows(results: Results) -> None:
    text = page(results, ALL, [Path("drain.svg")])
    assert f"| {FLOOR} | 55,000 (50,000 to 60,000) |" in text
    assert f"| {FLOOR} | 1.0 | as it says |" in text
    assert "3.00 times Dramatiq | **missed** |" in text


def test_page_says_where_a_contestant_offers_no_such_thing(results: Results) -> None:
    results.add("batch", "Huey", {})
    results.add("batch", AT_LEAST_ONCE, {"rate": 7.0})
    text = page(results, ALL, [])
    assert "| Huey | n/a |" in text
    assert f"| {AT_LEAST_ONCE} | 7 |" in text


def test_results_come_back_from_their_file(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "deep" / "results.json")
    assert Results.load(tmp_path / "deep" / "results.json") == results
    assert json.loads((tmp_path / "deep" / "results.json").read_text())["values"]


def test_bars_are_as_long_as_their_values_and_names_are_escaped() -> None:
    drawing = ET.fromstring(
        bars("A & B", "jobs/s", [("<a>", "peer", 50, 40, 60), ("b", "spinach", 100, 90, 120)])
    )
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.attrib["width"]) for bar in drawing.iter(f"{space}rect")]
    assert widths[1] == pytest.approx(2 * widths[0])
    assert [text.text for text in drawing.iter(f"{space}text")][2] == "<a>"


def test_overtaken_job_counts_from_the_first_one_behind_it() -> None:
    # The second job of the queue started at 9, after the third did at 2.
    assert sorted(overtaken([1.0, 9.0, 2.0, 3.0])) == [0.0, 0.0, 0.0, 7.0]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_commands_are_counted_in_pieces_of_any_size(size: int) -> None:
    # The argument of the first one looks like a command.
    argument = b"*1\r\n$4\r\nPING\r\n"
    first = b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$%d\r\n%s\r\n" % (len(argument), argument)
    data = first + b"*1\r\n$4\r\nPING\r\n" * 2
    counts: collections.Counter[str] = collections.Counter()
    counter = CommandCounter(counts)
    for start in range(0, len(data), size):
        counter.feed(data[start : start + size])
    assert counts == {"SET": 1, "PING": 2}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_usage_sees_this_process() -> None:
    found = usage(os.getpid())
    assert found.rss_bytes > 2**20
    assert found.cpu_seconds > 0
