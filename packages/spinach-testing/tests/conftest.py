"""What tests of several modules share."""

from __future__ import annotations

import pytest


@pytest.fixture
def only_this_plugin(monkeypatch):
    """A pytest that the test starts loads no plugin but those that it is told to load."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
