"""Which invariants of `docs/design/states.md` a test holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BROKER_INVARIANTS", "holds", "invariants_of"]

#: Those that a broker keeps. I16 and I17 are kept inside a worker process,
#: where no broker has a say.
BROKER_INVARIANTS = tuple(f"I{n}" for n in range(1, 25) if n not in (16, 17))

_ATTRIBUTE = "__spinach_invariants__"

_F = TypeVar("_F", bound="Callable[..., object]")


def holds(*invariants: str) -> Callable[[_F], _F]:
    """Say which invariants a test holds.

    Kept as an attribute rather than a pytest mark: a mark would have to be
    registered by everyone who runs the suite with strict markers.

    Args:
        invariants: at least one of `BROKER_INVARIANTS`.

    Raises:
        ValueError: none, or one that no broker keeps.
    """
    unknown = [name for name in invariants if name not in BROKER_INVARIANTS]
    if unknown or not invariants:
        raise ValueError(
            f"holds{invariants!r} names {unknown or 'nothing'}, expected invariants that a "
            f"broker keeps: {', '.join(BROKER_INVARIANTS)}."
        )

    def mark(test: _F) -> _F:
        setattr(test, _ATTRIBUTE, invariants)
        return test

    return mark


def invariants_of(test: object) -> tuple[str, ...]:
    """The invariants that a test says it holds; empty when it says nothing."""
    found: tuple[str, ...] = getattr(test, _ATTRIBUTE, ())
    return found
