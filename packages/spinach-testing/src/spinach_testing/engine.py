"""The engine of a test: made, recorded, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from spinach import Engine, Tasks
from spinach.exc import InvalidArgument, SpinachError, WorkersRunning
from spinach.worker import at_exit

from .raising import raise_all
from .recording import recording
from .session import end_grace
from .threads import check_for_leaks, join, of_engine

if TYPE_CHECKING:
    import threading
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


class _PassingEngine(Engine):
    """The plugin's own: nobody uses it after its test."""


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
    engine = _PassingEngine(broker, namespace)
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
        SpinachError: at the end, a registry cannot be attached again: the test gave its names
            to other tasks.
        BaseException: at the end, what attempts raised that no call of a worker told of.
    """
    __tracebackhide__ = True
    if not isinstance(engine, Engine):
        raise InvalidArgument(
            f"The fixture spinach_engine returned {engine!r}, expected an Engine. Return the "
            "engine of your application."
        )
    pool = engine._pool  # noqa: SLF001 - both are Spinach's own
    if pool is not None and pool.running:
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
            _stop(recorded, before)
            # While it is recorded: what a job raises at this late hour counts, too.
            left = join(of_engine(engine.namespace) - before, _PATIENCE_SECONDS)
            again = () if isinstance(engine, _PassingEngine) else registries
            refusal = _restore(engine, registries, again)
    unheard = recorded.failures
    try:
        try:
            check_for_leaks(recorded, left)
        finally:
            if refusal is not None:
                raise refusal
    except BaseException as exc:
        unheard.tell_with(exc)
        raise
    if errors := unheard.tell():
        raise_all(errors, unheard)


def _attached(engine: Engine) -> list[Tasks]:
    return list(engine._task_table._registries)  # noqa: SLF001 - both are Spinach's own


def _restore(
    engine: Engine, registries: Iterable[Tasks], again: Iterable[Tasks]
) -> SpinachError | None:
    """Undo what the test attached and detached: registries outlive it, and would go on
    scheduling on the engine of a test that is over.

    Args:
        engine: of the test.
        registries: stay attached.
        again: are attached if they are not.

    Returns:
        What the engine refused first; the rest is done nevertheless.
    """
    refusal: SpinachError | None = None
    for tasks in _attached(engine):
        if not any(tasks is each for each in registries):
            engine.detach_tasks(tasks)
    for tasks in again:
        try:
            engine.attach_tasks(tasks)
        except SpinachError as exc:
            exc.add_note(
                f"The registry with {', '.join(tasks.names)} was detached by the test, and could "
                f"not be attached again to engine {engine.namespace!r} after it. Put other tasks "
                "in their place by a registry of their own, Tasks(): it is detached for you."
            )
            refusal = refusal or exc
    return refusal


def _stop(recorded: Recording, before: set[threading.Thread]) -> None:
    """Stop workers that the test started itself, even if a job or the broker hangs.

    Args:
        recorded: of their engine.
        before: threads that lived when the test began: another test has told of them.
    """
    engine = recorded.engine
    engine.stop_workers(_join_arbiter=False)
    threads = of_engine(engine.namespace) - before
    arbiter = [each for each in threads if each.name == f"{engine.namespace}-arbiter"]
    if join(arbiter, _GRACE_SECONDS):
        end_grace(recorded)
        if join(arbiter, _STOP_SECONDS):
            _give_up(engine)


def _give_up(engine: Engine) -> None:
    """Let an engine forget its workers, whose arbiter hangs in a call of the broker.

    Whoever waits for their end would hang with them: what puts the former broker back, and
    the interpreter at its exit. The test's end names their threads.
    """
    pool = engine._pool  # noqa: SLF001 - both are Spinach's own
    if pool is not None:
        at_exit.forget(pool)
        engine._pool = None  # noqa: SLF001
