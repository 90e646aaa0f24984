"""Signals: addressed to a namespace, and safe for the sender."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest

from spinach import signals
from spinach.signals import SafeSignal

from .support import Ear

ALL = [getattr(signals, name) for name in signals.__all__]


@pytest.mark.parametrize("signal", ALL, ids=lambda signal: signal.name)
def test_a_signal_is_named_as_it_is_imported(signal: SafeSignal) -> None:
    assert getattr(signals, signal.name) is signal


def test_there_are_the_seven_that_are_promised() -> None:
    assert set(signals.__all__) == {
        "job_started",
        "job_schedule_retry",
        "job_failed",
        "job_expired",
        "job_finished",
        "worker_started",
        "worker_terminated",
    }


def test_a_receiver_hears_its_namespace_only() -> None:
    signal = SafeSignal("test")
    heard: list[str] = []

    def receive(namespace: str, **kwargs: Any) -> None:
        heard.append(namespace)

    # Equal text that is not the same object: namespaces count by value.
    signal.connect(receive, sender="".join(["sh", "op"]))
    signal.send("shop")
    signal.send("blog")
    assert heard == ["shop"]


def test_a_receiver_without_a_sender_hears_all() -> None:
    signal = SafeSignal("test")
    heard: list[str] = []
    signal.connect(heard.append, weak=False)
    signal.send("shop")
    signal.send("blog")
    assert heard == ["shop", "blog"]


def test_a_receiver_that_raises_is_logged_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signal = SafeSignal("test")
    heard: list[str] = []

    def fails(namespace: str) -> None:
        raise LookupError("lost")

    def works(namespace: str) -> str:
        heard.append(namespace)
        return "fine"

    signal.connect(fails)
    signal.connect(works)
    assert signal.send("shop") == [(works, "fine")]
    assert heard == ["shop"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("spinach.signals", logging.ERROR)
    assert record.exc_info
    assert record.exc_info[0] is LookupError
    assert (record.signal, "fails" in record.receiver) == ("test", True)


def test_without_receivers_sending_returns_nothing() -> None:
    assert SafeSignal("test").send("shop", job=1) == []


def test_arguments_are_passed_by_name() -> None:
    signal = SafeSignal("test")
    heard: list[dict[str, Any]] = []
    signal.connect(lambda namespace, **kwargs: heard.append(kwargs), weak=False)
    signal.send("shop", job="job", err="err")
    assert heard == [{"job": "job", "err": "err"}]


def test_a_signal_does_not_keep_its_receiver_alive() -> None:
    signal = SafeSignal("test")

    class Listener:
        def receive(self, namespace: str) -> None: ...

    listener = Listener()
    signal.connect(listener.receive)
    gone = weakref.ref(listener)
    del listener
    gc.collect()
    assert gone() is None
    assert signal.send("shop") == []


def test_an_ear_of_these_tests_leaves_no_receiver_behind() -> None:
    """A job costs more while anything listens, and the tests of costs run in the same process."""
    before = [len(signal.receivers) for signal in Ear.ALL]
    gc.disable()
    try:
        with Ear("once"):
            pass
        assert [len(signal.receivers) for signal in Ear.ALL] == before
    finally:
        gc.enable()
