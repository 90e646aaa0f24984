"""The types of `schedule` and `schedule_at`, written once for all classes that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from spinach.definition.task import Task

__all__ = ["Scheduling", "typed_as"]

P = ParamSpec("P")
Answer_co = TypeVar("Answer_co", covariant=True)
Declared = TypeVar("Declared")


def typed_as(
    declared: Declared,  # noqa: ARG001 - only its type counts
) -> Callable[[Callable[..., Any]], Declared]:
    """Decorator that gives a function the type of another one, and returns that very function."""

    def unchanged(func: Callable[..., Any]) -> Any:
        return func

    return unchanged


class Scheduling(Generic[Answer_co]):
    """How the two methods are called; for type checkers alone.

    It is not inherited. Each of the classes has a docstring and a body of its own, and a
    method that overrides an overloaded one has to repeat the overloads.
    """

    @overload
    def schedule(self: Any, task: str, /, *args: Any, **kwargs: Any) -> Answer_co: ...

    @overload
    def schedule(
        self: Any, task: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Answer_co: ...

    @overload
    def schedule(
        self: Any, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Answer_co: ...

    def schedule(self: Any, task: Any, /, *args: Any, **kwargs: Any) -> Answer_co:
        """Schedule a job to start as soon as possible; see `Engine.schedule`."""
        raise NotImplementedError

    @overload
    def schedule_at(
        self: Any, task: str, at: datetime, /, *args: Any, **kwargs: Any
    ) -> Answer_co: ...

    @overload
    def schedule_at(
        self: Any, task: Callable[P, object], at: datetime, /, *args: P.args, **kwargs: P.kwargs
    ) -> Answer_co: ...

    @overload
    def schedule_at(
        self: Any, task: Task[P, Any], at: datetime, /, *args: P.args, **kwargs: P.kwargs
    ) -> Answer_co: ...

    def schedule_at(self: Any, task: Any, at: datetime, /, *args: Any, **kwargs: Any) -> Answer_co:
        """Schedule a job to start at an instant; see `Engine.schedule_at`."""
        raise NotImplementedError
