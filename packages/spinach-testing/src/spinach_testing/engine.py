"""The engine of a test: made, recorded, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from spinach import Engine, Tasks
from spinach.exc import InvalidArgument, WorkersRunning

from .raising import raise_all
from .recording import recording
from .session import end_grace
from .threads import check_for_leaks, join, of_engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spinach.brokers.base import Broker

    from .recording import Recording

__all__ = ["adopted", "new_engine"]

#: Real seconds that jobs get which still run when a test ends.
_GRACE_SECONDS = 5.0

#: Real seconds that a thread gets to end after its engine was stopped.
_PATIENCE_SECONDS = 0.5

#: Real seconds that the other threads get to end after that; then something is broken.
_STOP_SECONDS = 20.0


@contextmanager
def new_engine(broker: Broker, namespace: str, registries: Iterable[Tasks]) -> Iterator[Engine]:
    """A new engine for the block, with the registries attached.

    Args:
        broker: bound to no engine.
        namespace: of the engine.
        registries: what `spinach_tasks` returned.

    Raises:
        InvalidArgument: not registries, or an iterator over some.
    """
    if isinstance(registries, Tasks | str) or not hasattr(registries, "__iter__"):
        raise InvalidArgument(
            f"The fixture spinach_tasks returned {registries!r}, expected the registries under "
            "test. Return a list: [tasks]."
        )
    if isinstance(registries, Iterator):
        # The fixture may outlive this test, and the next one would find it used up.
        raise InvalidArgument(
            f"The fixture spinach_tasks returned {registries!r}, which can be gone through only "
            "once, but each test needs the registries. Return a list: [tasks]."
        )
    engine = Engine(broker, namespace)
    with ExitStack() as stack:
        for tasks in registries:
            engine.attach_tasks(tasks)
            stack.callback(engine.detach_tasks, tasks)
        yield engine


@contextmanager
def adopted(engine: Engine) -> Iterator[Recording]:
    """Record an engine for the block, and leave it at the end as it was found.

    Args:
        engine: what `spinach_engine` returned, whoever made it.

    Raises:
        InvalidArgument: it is none.
        WorkersRunning: it has workers already.
        LeakedThreads: at the end, threads of the engine live on.
        BaseException: at the end, what attempts raised that no call of a worker told of.
    """
    __tracebackhide__ = True
    if not isinstance(engine, Engine):
        raise InvalidArgument(
            f"The fixture spinach_engine returned {engine!r}, expected an Engine. Return the "
            "engine of your application."
        )
    crew = engine._crew  # noqa: SLF001 - both are Spinach's own
    if crew is not None and crew.running:
        raise WorkersRunning(
            f"The engine {engine.namespace!r} that the fixture spinach_engine returned has workers "
            "already, and what those do cannot be recorded. Start workers in the test, or let "
            "spinach_worker or spinach_live_worker do so."
        )
    before, registries = of_engine(engine.namespace), _attached(engine)
    with recording(engine) as recorded:
        try:
            yield recorded
        finally:
            _stop(recorded)
            # While it is recorded: what a job raises at this late hour counts, too.
            join(of_engine(engine.namespace) - before, _PATIENCE_SECONDS)
            _restore(engine, registries)
    unheard = recorded.failures
    try:
        check_for_leaks(recorded, before)
    except BaseException as exc:
        unheard.tell_with(exc)
        raise
    if errors := unheard.tell():
        raise_all(errors)


def _attached(engine: Engine) -> list[Tasks]:
    return list(engine._catalog._registries)  # noqa: SLF001 - both are Spinach's own


def _restore(engine: Engine, registries: list[Tasks]) -> None:
    """Undo what the test attached and detached: registries outlive it, and would go on
    scheduling on the engine of a test that is over."""
    for tasks in _attached(engine):
        if not any(tasks is each for each in registries):
            engine.detach_tasks(tasks)
    for tasks in registries:
        engine.attach_tasks(tasks)


def _stop(recorded: Recording) -> None:
    """Stop workers that the test started itself, even if a job of theirs hangs."""
    engine = recorded.engine
    engine.stop_workers(_join_arbiter=False)
    threads = of_engine(engine.namespace)
    arbiter = [each for each in threads if each.name == f"{engine.namespace}-arbiter"]
    if join(arbiter, _GRACE_SECONDS):
        end_grace(recorded)
        join(arbiter, _STOP_SECONDS)
