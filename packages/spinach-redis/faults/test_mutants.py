"""No rule of the protocol can be taken away without a test that notices.

Each mutation changes a copy of the packages, and a Python process of its own runs the test
that is named for it: it has to fail, and to pass on a copy that nothing was changed in. The
bounded run takes some mutations by the seed, the full run all of them.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .mutations import MUTATIONS, Mutation, copy_packages
from .results import Record

ROOT = Path(__file__).parents[3]

#: How many mutations a bounded run tries; one takes two to five seconds.
BOUNDED = 3

TIMEOUT_SECONDS = 120
#: Of all mutations, and of all tests that are named for them.
FULL_SECONDS = 3600


def run(
    folder: Path, *arguments: str, seconds: float = TIMEOUT_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run pytest on the packages in a folder, whichever are installed."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "-p", "no:cacheprovider"),
            *("--timeout=60", *arguments),
        ],
        cwd=ROOT,
        # Before what is installed, also where that is a link to the sources.
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
    )


@pytest.fixture
def chosen(full: bool, seed: int) -> list[Mutation]:
    """What this session tries."""
    return list(MUTATIONS) if full else random.Random(seed).sample(MUTATIONS, BOUNDED)


@pytest.mark.timeout(FULL_SECONDS)
def test_each_rule_that_is_taken_away_is_missed_by_the_test_that_is_named_for_it(
    chosen: list[Mutation], tmp_path: Path, record: Record
) -> None:
    def missed(number: int) -> str | None:
        """What the test said that should have failed."""
        mutation, folder = chosen[number], tmp_path / str(number)
        copy_packages(folder)
        mutation.apply(folder)
        answer = run(folder, mutation.tests, "-k", mutation.test)
        shutil.rmtree(folder)
        # An error outside of the test would be no proof that it looks.
        failed = answer.returncode == 1 and "FAILED" in answer.stdout
        broke = re.search("^ERROR packages/", answer.stdout, re.MULTILINE)
        if failed and mutation.test in answer.stdout and not broke:
            return None
        return f"{mutation.rule}: {mutation.test}\n{answer.stdout}{answer.stderr}"

    with ThreadPoolExecutor(os.cpu_count()) as executor:
        unnoticed = [each for each in executor.map(missed, range(len(chosen))) if each]
    assert not unnoticed, "\n\n".join(unnoticed)
    record("mutants, each removed in turn and caught by a named test", runs=len(chosen))


@pytest.mark.timeout(FULL_SECONDS)
def test_named_tests_pass_where_nothing_was_changed(chosen: list[Mutation], tmp_path: Path) -> None:
    copy_packages(tmp_path)
    files = dict.fromkeys(mutation.tests for mutation in chosen)
    names = dict.fromkeys(mutation.test for mutation in chosen)
    asked = (*files, "-k", " or ".join(names), "-vv")
    answer = run(tmp_path, *asked, seconds=FULL_SECONDS)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    passed = [line for line in answer.stdout.splitlines() if " PASSED" in line]
    assert [name for name in names if not any(name in line for line in passed)] == []


def test_texts_that_the_mutations_change_are_there(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    for mutation in MUTATIONS:
        path = tmp_path / mutation.file
        kept = path.read_text(encoding="utf-8")
        mutation.apply(tmp_path)
        assert path.read_text(encoding="utf-8") != kept
        path.write_text(kept, encoding="utf-8")


def test_tests_that_are_named_for_the_mutations_are_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("packages/**/*.py")]
    for mutation in MUTATIONS:
        assert (ROOT / mutation.tests.partition("::")[0]).is_file(), mutation.rule
        assert any(f"def {mutation.test}(" in text for text in texts), mutation.rule


def test_mutation_whose_text_is_gone_says_so(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    gone = dataclasses.replace(MUTATIONS[0], before="there is no such text")
    with pytest.raises(AssertionError, match="Write the mutation anew"):
        gone.apply(tmp_path)
