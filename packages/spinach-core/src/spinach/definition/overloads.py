"""The types of `schedule` and `schedule_at`: for engine and registry, and for batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from spinach.definition.task import Task
    from spinach.job import Job

__all__ = ["Collecting", "Scheduling", "typed_as"]

P = ParamSpec("P")
R = TypeVar("R")
Declared = TypeVar("Declared")


def typed_as(
    declared: Declared,  # noqa: ARG001 - only its type counts
) -> Callable[[Callable[..., Any]], Declared]:
    """Decorator that gives a function the type of another one, and returns that very function."""

    def unchanged(func: Callable[..., Any]) -> Any:
        return func

    return unchanged


class Scheduling:
    """How the two methods are called where they answer the job; for type checkers alone.

    The job carries the type that the function returns, which `Engine.result` answers. By the name
    of a task nothing is known of it.

    It is not inherited. Each of the classes has a docstring and a body of its own, and a method
    that overrides an overloaded one has to repeat the overloads.
    """

    @overload
    def schedule(self: Any, task: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...

    @overload
    def schedule(
        self: Any, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def schedule(self: Any, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...

    def schedule(self: Any, task: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Schedule a job to start as soon as possible; see `Engine.schedule`."""
        raise NotImplementedError

    @overload
    def schedule_at(
        self: Any, task: str, at: datetime, /, *args: Any, **kwargs: Any
    ) -> Job[Any]: ...

    @overload
    def schedule_at(
        self: Any, task: Callable[P, R], at: datetime, /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def schedule_at(
        self: Any, task: Task[P, R], at: datetime, /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    def schedule_at(self: Any, task: Any, at: datetime, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Schedule a job to start at an instant; see `Engine.schedule_at`."""
        raise NotImplementedError


class Collecting:
    """The same of a batch, which sends nothing yet and answers nothing."""

    @overload
    def schedule(self: Any, task: str, /, *args: Any, **kwargs: Any) -> None: ...

    @overload
    def schedule(
        self: Any, task: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...

    @overload
    def schedule(self: Any, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...

    def schedule(self: Any, task: Any, /, *args: Any, **kwargs: Any) -> None:
        """Add a job that starts as soon as possible; see `Batch.schedule`."""
        raise NotImplementedError

    @overload
    def schedule_at(self: Any, task: str, at: datetime, /, *args: Any, **kwargs: Any) -> None: ...

    @overload
    def schedule_at(
        self: Any, task: Callable[P, object], at: datetime, /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...

    @overload
    def schedule_at(
        self: Any, task: Task[P, Any], at: datetime, /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...

    def schedule_at(self: Any, task: Any, at: datetime, /, *args: Any, **kwargs: Any) -> None:
        """Add a job that starts at an instant; see `Batch.schedule_at`."""
        raise NotImplementedError
