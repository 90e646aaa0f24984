"""Which tests hold each invariant, and which breakers prove it, as a table for people."""

from __future__ import annotations

from .breakers import BREAKERS
from .invariants import BROKER_INVARIANTS
from .suite import conformance_tests

__all__ = ["invariant_table"]


def invariant_table() -> str:
    """The table in Markdown, one row an invariant that brokers keep."""
    tests = list(conformance_tests())
    rows = ["| Invariant | Tests | Breakers |", "|---|---|---|"]
    for invariant in BROKER_INVARIANTS:
        held = [f"`{test.method}`" for test in tests if invariant in test.invariants]
        broken = [f"`{each.__name__}`" for each in BREAKERS if each.breaks == invariant]
        rows.append(f"| {invariant} | {'<br>'.join(held)} | {'<br>'.join(broken)} |")
    return "\n".join(rows) + "\n"
