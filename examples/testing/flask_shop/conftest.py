"""Fixtures of the shop's tests."""

from datetime import UTC, datetime
from unittest.mock import MagicMock

import pytest
from app import create_app
from tasks import tasks

from spinach_testing import VirtualClock


@pytest.fixture(scope="session")
def spinach_tasks():
    return [tasks]


@pytest.fixture
def spinach_clock():
    # The shop reckons with today's date, so the clock that the test turns starts there.
    return VirtualClock(datetime.now(UTC))


@pytest.fixture
def client(spinach_engine):
    return create_app(spinach_engine).test_client()


@pytest.fixture
def mailbox(monkeypatch):
    """The mail server: notes what is sent, and fails when a test tells it to."""
    smtp = MagicMock()
    monkeypatch.setattr("smtplib.SMTP", smtp)
    return smtp.return_value.__enter__.return_value.send_message
