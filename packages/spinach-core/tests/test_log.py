"""The loggers: literal names, no level, no handler."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from spinach.support import log


@pytest.mark.parametrize(
    ("logger", "name"),
    [
        (log.ENGINE_LOGGER, "spinach.engine"),
        (log.JOB_LOGGER, "spinach.job"),
        (log.WORKER_LOGGER, "spinach.worker"),
    ],
)
def test_a_logger_has_its_promised_name_and_nothing_of_its_own(
    logger: logging.Logger, name: str
) -> None:
    assert logger is logging.getLogger(name)
    assert logger.level == logging.NOTSET
    assert logger.propagate


FAILING = """
from spinach import Engine, MemoryBroker, Tasks

SET_UP

tasks = Tasks()


@tasks.task(name="fine")
def fine():
    pass


@tasks.task(name="broken")
def broken():
    raise ValueError("no ink")


spin = Engine(MemoryBroker())
spin.attach_tasks(tasks)
spin.schedule(fine)
if FAILS:
    spin.schedule(broken)
spin.start_workers(2, stop_when_queue_empty=True)
"""


def stderr_of(*, set_up: str = "", fails: bool = True) -> str:
    source = FAILING.replace("SET_UP", set_up).replace("FAILS", repr(fails))
    run = subprocess.run(
        [sys.executable, "-c", source], check=True, capture_output=True, text=True, timeout=50
    )
    assert run.stdout == ""
    return run.stderr


def test_a_program_without_logging_prints_what_fails() -> None:
    lines = stderr_of().splitlines()
    assert lines[0].startswith("Job failed: broken ")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no ink"


def test_a_program_without_logging_prints_nothing_as_long_as_nothing_fails() -> None:
    assert stderr_of(fails=False) == ""


def test_a_program_with_logging_prints_what_fails_once() -> None:
    text = stderr_of(set_up="import logging; logging.basicConfig()")
    assert text.count("Job failed: broken") == text.count("ValueError: no ink") == 1
    assert text.startswith("ERROR:spinach.job:Job failed: broken ")


def test_a_program_can_silence_it_all() -> None:
    off = "import logging; logging.getLogger('spinach').addHandler(logging.NullHandler())"
    assert stderr_of(set_up=off) == ""


def test_the_library_adds_no_handler() -> None:
    source = (
        "import logging, spinach, spinach_memory\n"
        "names = [n for n in logging.Logger.manager.loggerDict if n.startswith('spinach')]\n"
        "assert names\n"
        "assert not any(logging.getLogger(n).handlers for n in names)\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True, timeout=50)
