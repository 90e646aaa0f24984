"""Whether the arguments of a job fit the function that will get them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["CallSignature"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class CallSignature:
    """The signature of a function, made ready to check many calls; thread safe.

    `inspect.Signature.bind` takes several microseconds a call, which producers
    would feel; calls that fit are recognised by counting and set comparison, and
    `bind` only explains those that do not.

    Args:
        func: any callable. One without a readable signature accepts everything.
    """

    __slots__ = ("_named", "_positional", "_sets", "_signature", "_simple")

    def __init__(self, func: Callable[..., object]) -> None:
        try:
            self._signature: inspect.Signature | None = inspect.signature(func)
        except (TypeError, ValueError):  # some builtins and extension types have none
            self._signature = None
            return
        parameters = self._signature.parameters.values()
        self._simple = not any(
            p.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            for p in parameters
        )
        self._positional = [p for p in parameters if p.kind in _POSITIONAL]
        self._named = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        # Number of positional arguments → (names allowed, names required) beside them.
        self._sets: dict[int, tuple[frozenset[str], frozenset[str]]] = {}

    def problem(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """What is wrong with the arguments; None when they fit."""
        if self._signature is None:
            return None
        if self._simple and len(args) <= len(self._positional):
            allowed, required = self._sets.get(len(args)) or self._after(len(args))
            if kwargs.keys() <= allowed and required <= kwargs.keys():
                return None
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as exc:
            return str(exc)
        return None

    def __str__(self) -> str:
        if self._signature is None:
            return "(...)"
        # Annotations that are strings would show their quotes.
        parameters = [
            p.replace(annotation=_Shown(p.annotation)) if isinstance(p.annotation, str) else p
            for p in self._signature.parameters.values()
        ]
        answer = self._signature.return_annotation
        shown = _Shown(answer) if isinstance(answer, str) else answer
        return str(self._signature.replace(parameters=parameters, return_annotation=shown))

    def _after(self, count: int) -> tuple[frozenset[str], frozenset[str]]:
        """Names that a call with this number of positional arguments may give, and must give."""
        rest = self._positional[count:]
        empty = inspect.Parameter.empty
        allowed = frozenset(
            p.name for p in (*rest, *self._named) if p.kind is not inspect.Parameter.POSITIONAL_ONLY
        )
        required = frozenset(p.name for p in (*rest, *self._named) if p.default is empty)
        self._sets[count] = allowed, required
        return allowed, required


class _Shown(str):
    """A text that shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
