"""How many workers and how much time: the mark, the configuration, the defaults.

Imports nothing of Spinach, since every test run imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from .timeouts import problem_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "add_options", "check_mark", "configured", "settings_of"]

_KEYS = ("workers", "timeout")

#: Of the values in the configuration file, for pytest. Releases before 8.4 know no numbers there,
#: and give texts.
_TYPES: tuple[Literal["int"] | None, Literal["float"] | None] = (
    ("int", "float") if pytest.version_tuple >= (8, 4) else (None, None)
)


class Settings(NamedTuple):  # a dataclass would take ten times as long to define
    """What the workers of one test use unless a call says otherwise."""

    #: Threads.
    workers: int = 5
    #: Real seconds.
    timeout: float = 10.0


def add_options(parser: pytest.Parser) -> None:
    """Declare the settings of the configuration file."""
    defaults = Settings()
    workers, timeout = _TYPES
    parser.addini(
        "spinach_workers",
        f"worker threads of spinach_worker and spinach_live_worker ({defaults.workers})",
        type=workers,
        default=defaults.workers,
    )
    parser.addini(
        "spinach_timeout",
        f"real seconds that jobs get in a test ({defaults.timeout:g})",
        type=timeout,
        default=defaults.timeout,
    )


def configured(config: pytest.Config) -> Settings:
    """The settings of the configuration file.

    Raises:
        pytest.UsageError: a value is of a wrong type or out of range.
    """
    given: dict[str, Any] = {}
    for key, convert, what in (("workers", int, "an int"), ("timeout", float, "a number")):
        try:
            given[key] = convert(config.getini(f"spinach_{key}"))
        except (TypeError, ValueError, pytest.UsageError) as exc:
            raise pytest.UsageError(
                f"In the configuration of pytest, spinach_{key} is not {what}: {exc}"
            ) from None
    if problem := _problem(given, "spinach_"):
        raise pytest.UsageError(f"In the configuration of pytest, {problem}.")
    return Settings(**given)


def check_mark(item: pytest.Item) -> None:
    """Fail the test if its mark `spinach` is wrong."""
    _marked(item)


def settings_of(node: Any) -> Settings:
    """The settings of a test: from its mark, else those of its class and module, else the
    configuration."""
    base = configured(node.config)
    given = {"workers": base.workers, "timeout": base.timeout, **_marked(node)}
    return Settings(**given)


def _marked(node: Any) -> dict[str, Any]:
    given: dict[str, Any] = {}
    # The closest mark is given first, and has to win.
    for mark in reversed(list(node.iter_markers("spinach"))):
        unknown = [key for key in mark.kwargs if key not in _KEYS]
        problem = None
        if mark.args:
            problem = f"{mark.args[0]!r} has no name"
        elif unknown:
            problem = f"{unknown[0]!r} is unknown"
        else:
            problem = _problem(mark.kwargs)
        if problem:
            pytest.fail(
                f"In the mark spinach, {problem}. It takes workers= (threads) and timeout= "
                "(real seconds): @pytest.mark.spinach(workers=2, timeout=5).",
                pytrace=False,
            )
        given |= mark.kwargs
    return given


def _problem(given: Mapping[str, Any], prefix: str = "") -> str | None:
    workers = given.get("workers", 1)
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        return f"{prefix}workers is {workers!r}, expected an int of at least 1"
    return problem_of(given.get("timeout", 1), f"{prefix}timeout")
