"""The whole conformance suite, with this server and this release of redis-py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import redis

from ..tests.servers import running_server
from .results import Record
from .scene import version_of

SUITE = Path(__file__).parents[1] / "tests" / "test_conformance.py"
SUITE_SECONDS = 800


def test_broker_keeps_the_whole_contract(
    binary: None, rounds: Callable[..., int], record: Record, tmp_path: Path
) -> None:
    rounds(full=1, bounded=0)
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(SUITE), "-m", "exhaustive or not exhaustive"),
            *("-q", "-p", "no:cacheprovider", f"--junitxml={report}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    counts = ElementTree.parse(report).getroot().find("testsuite")
    assert counts is not None
    assert int(counts.attrib["skipped"]) == 0
    with running_server() as server, server.client() as client:
        name = version_of(client)
    record(
        "conformance suite: one server, another database, as an ACL user, through TLS, "
        f"Cluster; redis-py {redis.__version__}",
        runs=int(counts.attrib["tests"]),
        server=name,
        note="each test is a run",
    )
