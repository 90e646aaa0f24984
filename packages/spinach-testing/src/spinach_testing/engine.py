"""The engine of a test: made, recorded, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from spinach import Engine, Tasks
from spinach.exc import InvalidArgument

from .recording import recording
from .session import end_grace
from .threads import check_for_leaks, join, of_engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spinach.brokers.base import Broker

    from .recording import Recording

__all__ = ["adopted", "engine_under_test"]

#: Real seconds that jobs get which still run when a test ends.
_GRACE_SECONDS = 5.0


@contextmanager
def engine_under_test(
    broker: Broker, namespace: str, registries: Iterable[Tasks]
) -> Iterator[Recording]:
    """A new engine for the block, with the registries attached.

    Args:
        broker: bound to no engine.
        namespace: of the engine.
        registries: what `spinach_tasks` returned.

    Raises:
        InvalidArgument: not registries, or an iterator over some.
        LeakedThreads: at the end, threads of the engine live on.
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
        yield stack.enter_context(adopted(engine))


@contextmanager
def adopted(engine: Engine) -> Iterator[Recording]:
    """Record an engine for the block, and see that nothing of it runs on.

    Raises:
        WorkersRunning: it has workers already.
        LeakedThreads: at the end, threads of the engine live on.
    """
    before = of_engine(engine.namespace)
    with recording(engine) as recorded:
        try:
            yield recorded
        finally:
            _stop(recorded)
    check_for_leaks(recorded, before)


def _stop(recorded: Recording) -> None:
    """Stop workers that the test started itself, even if a job of theirs hangs."""
    engine = recorded.engine
    engine.stop_workers(_join_arbiter=False)
    threads = of_engine(engine.namespace)
    arbiter = [each for each in threads if each.name == f"{engine.namespace}-arbiter"]
    if join(arbiter, _GRACE_SECONDS):
        end_grace(recorded)
        join(arbiter, _GRACE_SECONDS)
