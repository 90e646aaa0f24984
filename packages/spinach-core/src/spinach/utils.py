"""Helpers importable under the names that users know; no code of its own."""

from __future__ import annotations

from spinach.backoff import exponential_backoff

__all__ = ["exponential_backoff"]
