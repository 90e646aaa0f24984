"""The exceptions: one tree, as its drawing says, and each raised by the catalogue."""

from __future__ import annotations

import pickle
import uuid
from datetime import datetime

import pytest

from spinach import exc
from spinach.exc import RetryException, ScheduleUncertain, SpinachError

from .catalogue import CATALOGUE
from .support import NOON

ALL = [getattr(exc, name) for name in exc.__all__]


def test_the_catalogue_holds_every_exception() -> None:
    assert set(CATALOGUE) == set(ALL)


def test_all_names_every_class_of_the_module() -> None:
    classes = {n for n, v in vars(exc).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert classes == set(exc.__all__)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_exception_is_raised_by_its_entry_with_a_message(error: type[Exception]) -> None:
    with pytest.raises(error) as info:
        CATALOGUE[error]()
    if error is not SpinachError:
        assert type(info.value) is error
    assert len(str(info.value)) > 10


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_exception_says_what_it_means(error: type[Exception]) -> None:
    assert error.__doc__


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_only_what_tasks_raise_stands_outside_the_tree(error: type[Exception]) -> None:
    assert issubclass(error, SpinachError) is (error.__name__ not in OUTSIDE)


OUTSIDE = {"RetryException", "AbortException", "JobCancelled", "JobReleased"}


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("UnknownTask", LookupError),
        ("InvalidJobSignatureError", TypeError),
        ("InvalidTask", TypeError),
        ("InvalidTask", ValueError),
        ("DuplicateTask", ValueError),
        ("InvalidName", ValueError),
        ("InvalidArgument", TypeError),
        ("InvalidArgument", ValueError),
        ("PayloadTooLarge", ValueError),
        ("TasksNotAttached", RuntimeError),
        ("WorkersRunning", RuntimeError),
        ("BrokerInUse", RuntimeError),
        ("JobFailed", RuntimeError),
        ("NoResult", RuntimeError),
        ("ResultExpired", LookupError),
        ("ResultTimeout", TimeoutError),
        ("WaitInWorker", RuntimeError),
        ("BrokerUnavailable", exc.BrokerError),
        ("BrokerFull", exc.BrokerError),
        ("ScheduleUncertain", exc.BrokerError),
    ],
)
def test_exceptions_can_be_caught_by_the_builtin_that_fits(
    name: str, builtin: type[Exception]
) -> None:
    assert issubclass(getattr(exc, name), builtin)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_the_drawing_of_the_tree_has_every_error(error: type[Exception]) -> None:
    assert exc.__doc__
    assert error.__name__ in exc.__doc__


def test_broker_errors_tell_the_fate_of_each_job() -> None:
    stored, unknown, not_sent = ([uuid.uuid4()] for _ in range(3))
    err = ScheduleUncertain("cut", stored=stored, unknown=unknown, not_sent=not_sent)
    assert (err.stored, err.unknown, err.not_sent) == (
        tuple(stored),
        tuple(unknown),
        tuple(not_sent),
    )
    assert err.job_ids == tuple(unknown)
    assert str(err) == "cut"


def test_broker_errors_outside_of_scheduling_name_no_job() -> None:
    err = exc.BrokerError("no")
    assert (err.stored, err.unknown, err.not_sent) == ((), (), ())


@pytest.mark.parametrize("at", [NOON, NOON.replace(tzinfo=None), None])
def test_a_retry_takes_any_datetime_or_none(at: datetime | None) -> None:
    err = RetryException("later", at=at)
    assert err.at == at
    assert str(err) == "later"


def test_broker_errors_survive_pickling_with_the_fates() -> None:
    err = ScheduleUncertain("cut", unknown=[uuid.uuid4()])
    copy = pickle.loads(pickle.dumps(err))
    assert copy.job_ids == err.job_ids


def test_errors_of_results_survive_pickling_with_what_they_carry() -> None:
    job_id = uuid.uuid4()
    failed = exc.JobFailed("no", job_id=job_id, error="E", reason="why", traceback="Traceback")
    copy = pickle.loads(pickle.dumps(failed))
    assert (str(copy), copy.job_id, copy.error, copy.message, copy.traceback) == (
        *("no", job_id, "E", "why", "Traceback"),
    )
    expired = pickle.loads(pickle.dumps(exc.NoResult("no", job_id=job_id, reason="expired")))
    assert (str(expired), expired.job_id, expired.reason) == ("no", job_id, "expired")
