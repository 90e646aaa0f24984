"""Names that users know from elsewhere."""

from __future__ import annotations

from spinach import backoff, utils


def test_the_backoff_is_importable_under_the_name_that_users_know() -> None:
    assert utils.exponential_backoff is backoff.exponential_backoff
    assert utils.__all__ == ["exponential_backoff"]
