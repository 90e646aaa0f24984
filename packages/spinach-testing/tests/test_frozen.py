"""A plain engine, without the plugin's fixtures, in a test that has frozen the time."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import freezegun
import pytest
import time_machine

from spinach import Engine, RetryException, Tasks
from spinach.clock import SystemClock
from spinach.exc import BrokerUnavailable
from spinach_memory import MemoryBroker
from spinach_redis import RedisBroker

FROZEN = datetime(2020, 1, 1, tzinfo=UTC)


@contextmanager
def flaky_engine():
    """An engine at work, and an event that the second attempt of its job sets."""
    tasks, done = Tasks(), threading.Event()
    first = threading.Event()

    @tasks.task(name="flaky", max_retries=1)
    def flaky():
        if first.is_set():
            done.set()
            return
        first.set()
        raise RetryException("later", at=MemoryBroker().clock.now() + timedelta(milliseconds=50))

    spin = Engine(MemoryBroker(), namespace="frozen")
    spin.attach_tasks(tasks)
    spin.schedule(flaky)
    spin.start_workers(1, block=False)
    try:
        yield done
    finally:
        spin.stop_workers()


def test_a_retry_comes_due_under_freezegun():
    with freezegun.freeze_time(FROZEN), flaky_engine() as done:
        assert done.wait(20)


def test_a_retry_comes_due_in_a_travel_that_ticks(caplog):
    with time_machine.travel(FROZEN), flaky_engine() as done:
        assert done.wait(20)
    assert not caplog.messages


@pytest.mark.concurrency
def test_a_travel_that_does_not_tick_is_named():
    told, texts = threading.Event(), []

    class Hear(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())
            told.set()

    logger, hear = logging.getLogger("spinach.broker.memory"), Hear()
    logger.addHandler(hear)
    try:
        with time_machine.travel(FROZEN, tick=False), flaky_engine() as done:
            assert told.wait(20)
            assert not done.is_set()
    finally:
        logger.removeHandler(hear)
    [text] = texts
    assert "The clock stands at 2020-01-01T00:00:00+00:00" in text
    assert "spinach_worker.advance()" in text


def test_the_machines_clock_is_the_real_one_under_freezegun():
    clock = SystemClock()
    with freezegun.freeze_time(FROZEN):
        now, seconds = clock.now(), clock.monotonic()
        assert now.year > 2020
        assert type(now) is not datetime  # freezegun's: this module's name is patched
        condition = threading.Condition()
        with condition:
            assert not clock.wait(condition, 0.001)
        assert clock.monotonic() > seconds
        assert clock.now() > now
    assert type(now) is datetime


def test_a_server_that_is_down_is_given_up_in_a_frozen_test():
    tasks = Tasks()
    tasks.add(print, name="print")
    broker = RedisBroker.from_url("redis://127.0.0.1:1/0")
    broker._process.client.client_seconds = 0.2
    spin = Engine(broker, namespace="frozen")
    spin.attach_tasks(tasks)
    with freezegun.freeze_time(FROZEN), pytest.raises(BrokerUnavailable):
        spin.schedule("print")


def test_what_is_imported_first_in_a_frozen_test_is_real_after_it_and_in_it():
    program = """
        import datetime, time
        import freezegun

        with freezegun.freeze_time("2020-01-01"):
            from spinach import clock
            import spinach_redis.client.client
            import spinach_testing.clock

            assert datetime.datetime.__module__ == "freezegun.api"
            assert clock.SystemClock().now().year > 2020
            first = clock.SystemClock.monotonic()
            while clock.SystemClock.monotonic() == first:
                pass
        assert type(clock.from_ms(0)) is datetime.datetime
        assert type(clock._LATEST) is datetime.datetime
        assert type(spinach_testing.clock.START) is datetime.datetime
        assert type(clock.SystemClock().now()) is datetime.datetime
        assert abs(clock.SystemClock.monotonic() - time.monotonic()) < 60
        assert spinach_redis.client.client.time.monotonic.__module__ == "time"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=55)
