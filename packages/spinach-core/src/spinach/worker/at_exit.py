"""The end of a program whose workers still run: they are stopped.

When the main thread has ended, Python first makes the calls that were registered with
`threading`. One of them forbids new work to all executors of `concurrent.futures`. Then it
waits for threads that are no daemons, and after that it makes the calls of `atexit`. A job
that begins meanwhile may fail for no fault of its own, so workers stop before all that.
"""

from __future__ import annotations

import atexit
import threading
from contextlib import suppress
from typing import Protocol

from spinach.support.log import ENGINE_LOGGER

__all__ = ["forget", "watch"]


class _Pool(Protocol):
    """What is asked of a worker pool, which knows this module."""

    @property
    def namespace(self) -> str: ...

    @property
    def running(self) -> bool: ...

    @property
    def stopping(self) -> bool: ...

    def request_stop(self) -> None: ...

    def hurry(self) -> None: ...

    def join(self) -> None: ...


# Of the process, as its end is. Each operation on it is atomic.
_pools: set[_Pool] = set()

# Where `_end` was registered: once each, however many pools come and go. A forked child
# inherits it together with the registrations.
_registered: set[str] = set()


def watch(pool: _Pool, *, main_waits: bool) -> None:
    """Stop a pool when the program ends, at once if it is ending; until `forget`.

    Args:
        pool: about to start.
        main_waits: the main thread waits for its end.
    """
    _pools.add(pool)
    if not main_waits and "threading" not in _registered:
        _registered.add("threading")
        _register_with_threading()
    if "atexit" not in _registered:
        _registered.add("atexit")
        atexit.register(_end)
    if not threading.main_thread().is_alive():
        # Too late: `_end` is over, or comes after executors refused work.
        _ask(pool)


def forget(pool: _Pool) -> None:
    """The pool has ended, or is not to be waited for."""
    _pools.discard(pool)


def _register_with_threading() -> None:
    # Not public, but what executors use. Without it there is atexit, as there is when the
    # program ends already.
    with suppress(RuntimeError):
        # First, since what is registered last is called first.
        import concurrent.futures.thread  # noqa: F401 - a program that blocks does without

        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            register(_end)


def _end() -> None:
    """Stop what runs, each pool with its grace."""
    # In a forked child those of the parent do not run.
    pools = [pool for pool in list(_pools) if pool.running]
    try:
        _stop(pools)
    except (KeyboardInterrupt, SystemExit):
        # As for the second signal to a `start_workers` that blocks.
        for pool in pools:
            pool.hurry()
        _stop(pools)


def _stop(pools: list[_Pool]) -> None:
    for pool in pools:
        if not pool.stopping:
            _ask(pool)
    for pool in pools:
        pool.join()


def _ask(pool: _Pool) -> None:
    pool.request_stop()
    ENGINE_LOGGER.warning(
        "The program ended while workers of namespace %s were running; they stop now. "
        "Call stop_workers() at the end of the program, or keep its main thread with "
        "start_workers(block=True)",
        pool.namespace,
    )
