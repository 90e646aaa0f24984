"""The engine of a test: how it is made, recorded, and cleaned up."""

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

#: Real seconds for jobs that still run when a test ends.
_GRACE_SECONDS = 5.0

#: Real seconds that a thread gets to end after its engine was stopped.
_PATIENCE_SECONDS = 0.5

#: Real seconds that the arbiter gets to end without grace. It needs more only if something is
#: broken.
_STOP_SECONDS = 20.0


class _OwnEngine(Engine):
    """Made by the plugin, and used in one test only."""


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
        # The fixture may serve several tests, and the second one would get nothing.
        raise InvalidArgument(
            f"The fixture spinach_tasks returned {registries!r}, which can be gone through only "
            "once, but each test needs the registries. Return a list: [tasks]."
        )
    engine = _OwnEngine(broker, namespace)
    with ExitStack() as stack:
        for tasks in registries:
            engine.attach_tasks(tasks)
            stack.callback(engine.detach_tasks, tasks)
        yield engine


@contextmanager
def adopted(engine: Engine) -> Iterator[Recording]:
    """Record an engine for the block, and restore at the end what the test changed.

    Args:
        engine: what `spinach_engine` returned: the plugin's or the user's.

    Raises:
        InvalidArgument: it is no engine.
        WorkersRunning: it has workers already.
        LeakedThreads: at the end, threads of the engine are still alive.
        SpinachError: at the end, a registry cannot be attached again, because the test gave its
            names to other tasks.
        BaseException: at the end, what attempts raised and no call of a worker has raised or
            returned.
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
            # Still recorded: an exception that a job raises now counts as well.
            left = join(of_engine(engine.namespace) - before, _PATIENCE_SECONDS)
            again = () if isinstance(engine, _OwnEngine) else registries
            refusal = _restore(engine, registries, again)
    failures = recorded.failures
    try:
        try:
            check_for_leaks(recorded, left)
        finally:
            if refusal is not None:
                raise refusal
    except BaseException as exc:
        failures.tell_with(exc)
        raise
    if errors := failures.tell():
        raise_all(errors, failures, whole_test=True)


def _attached(engine: Engine) -> list[Tasks]:
    return list(engine._task_table._registries)  # noqa: SLF001 - both are Spinach's own


def _restore(
    engine: Engine, registries: Iterable[Tasks], again: Iterable[Tasks]
) -> SpinachError | None:
    """Undo what the test attached and detached. Registries outlive a test, and those that stay
    attached would schedule on its engine.

    Args:
        engine: of the test.
        registries: to stay attached; all others are detached.
        again: to be attached unless they are.

    Returns:
        The first refusal of the engine; the rest is done nevertheless.
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
        before: threads that were alive when the test began. An earlier test has reported them.
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

    Otherwise `using_broker` and the interpreter's exit would wait for the arbiter, and hang as
    well. The end of the test names its thread.
    """
    pool = engine._pool  # noqa: SLF001 - both are Spinach's own
    if pool is not None:
        at_exit.forget(pool)
        engine._pool = None  # noqa: SLF001
