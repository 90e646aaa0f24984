"""A broker that hands every call to another one."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any, cast

from spinach.brokers.base import Broker

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PassingBroker", "passing"]


def passing(contract: type[Broker]) -> type[Broker]:
    """A class that has every abstract method of a contract, made from the contract itself.

    Each of them calls the method of that name of `self.inner`, with the same arguments.

    Args:
        contract: `Broker`, or a class that promises more.
    """
    methods = {
        name: _passed_on(name, getattr(contract, name)) for name in contract.__abstractmethods__
    }
    made = types.new_class("Passing", (contract,), exec_body=lambda body: body.update(methods))
    return cast("type[Broker]", made)


def _passed_on(name: str, promised: Callable[..., Any]) -> Callable[..., Any]:
    def pass_on(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, name)(*args, **kwargs)

    # Signature and docstring of the contract, but not its mark of what is abstract.
    return functools.update_wrapper(pass_on, promised, updated=())


if TYPE_CHECKING:
    # No type checker sees methods that are made at run time. Any finished broker shows it what
    # they look like.
    from spinach_memory import MemoryBroker as _Passing
else:
    _Passing = passing(Broker)


class PassingBroker(_Passing):
    """Passes every call on to another broker; subclasses do more with some of them.

    Args:
        inner: the broker inside. Its clock, lease and limits hold for both.
    """

    def __init__(self, inner: Broker) -> None:
        super().__init__(
            clock=inner.clock,
            lease=inner.lease,
            max_payload_bytes=inner.max_payload_bytes,
            failed_retention=inner.failed_retention,
        )
        self.inner = inner
