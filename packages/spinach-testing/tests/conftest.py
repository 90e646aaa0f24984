"""What tests of several modules share."""

from __future__ import annotations

import pytest

# A project that runs in this process forgets at its end what it was the first to import, and
# modules that stayed would then mix with new copies of those. So all of it is here before.
import spinach_memory  # noqa: F401 - see above
import spinach_testing.engine
import spinach_testing.hints
import spinach_testing.live
import spinach_testing.live_clock
import spinach_testing.worker  # noqa: F401 - see above


@pytest.fixture
def only_this_plugin(monkeypatch):
    """A pytest that the test starts loads no plugin but those that it is told to load."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
