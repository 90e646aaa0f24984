"""The warning that a call of a client blocks an event loop."""

from __future__ import annotations

# Costs nothing: redis-py has imported it.
from asyncio.events import _get_running_loop as running_loop

from spinach_redis.transport.health import LOGGER

__all__ = ["running_loop", "warn_of_event_loop"]

# Whether the log was told; a child that was forked need not tell it again. State of the module,
# because it is told once a process, through whichever broker the calls go. Without a lock: of two
# threads that call at the same moment both may tell it.
_told = False


def warn_of_event_loop(done: str, function: str, client_seconds: float) -> None:
    """Tell the log, once a process, that a call blocks the event loop of its thread.

    Args:
        done: what the call is for.
        function: of an engine, which stands for what was called.
        client_seconds: how long it may take.
    """
    global _told  # noqa: PLW0603 - see above
    if _told:
        return
    _told = True
    LOGGER.warning(
        "%s on a thread that runs an event loop: the loop stands still until Redis has answered, "
        "which may take %g seconds (client_timeout) where it is away. Call it on another thread: "
        "await asyncio.to_thread(spin.%s, ...). This is told once a process",
        done, client_seconds, function,
    )  # fmt: skip
