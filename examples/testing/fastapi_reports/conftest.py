"""Fixtures of the reports' tests."""

import app
import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def spinach_engine(spinach_broker):
    # The engine was made by the import; what it runs on changes for the test.
    with app.spin.using_broker(spinach_broker):
        yield app.spin


@pytest.fixture
def client(spinach_engine):
    return TestClient(app.app)


@pytest.fixture(autouse=True)
def books(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "folder", tmp_path)
    return tmp_path / "2030-01.csv"


@pytest.fixture
def anyio_backend():
    return "asyncio"
