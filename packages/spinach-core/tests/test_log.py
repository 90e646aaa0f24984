"""The loggers: literal names, no level, no handler."""

from __future__ import annotations

import logging

import pytest

from spinach import log


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


def test_the_library_adds_one_null_handler_and_no_other() -> None:
    (handler,) = logging.getLogger("spinach").handlers
    assert isinstance(handler, logging.NullHandler)
