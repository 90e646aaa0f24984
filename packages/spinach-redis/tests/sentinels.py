"""A primary with replicas that Sentinels watch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError
from redis.sentinel import Sentinel

from .replicas import running_replicated
from .servers import running_servers, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .replicas import Replicated
    from .servers import Server

__all__ = ["FAILOVER_SECONDS", "SERVICE", "Watched", "running_sentinels"]

#: What the Sentinels call the primary.
SERVICE = "letters"

DOWN_AFTER_MS = 1000

#: Sentinels that all voted for themselves vote again after twice this time.
FAILOVER_TIMEOUT_MS = 2000

#: A test in which they vote, and may split their vote more than once, takes no longer.
FAILOVER_SECONDS = 150


@dataclass
class Watched:
    """Servers, and the Sentinels that name a new primary when it is time."""

    group: Replicated
    sentinels: list[Server]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of the Sentinels."""
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    def sentinel(self, **options: Any) -> Sentinel:
        """What a user asks for a client; close its clients yourself."""
        return Sentinel(self.addresses, **options)

    def primary(self) -> Server:
        """Whom all Sentinels that run hold for the primary, and for well.

        Raises:
            AssertionError: they do not agree now.
        """
        ports = set()
        for sentinel in self.sentinels:
            if sentinel.running:
                one = Sentinel([("127.0.0.1", sentinel.port)])
                with one.sentinels[0]:
                    ports.add(one.discover_master(SERVICE)[1])
        assert len(ports) == 1, ports
        return next(server for server in self.group.servers if server.port in ports)

    def wait_for_other_primary(self, than: Server, seconds: float = 120.0) -> Server:
        """Wait until all Sentinels name another primary, and that it takes writes."""

        return until(lambda: self._other_primary(than), "another primary", seconds)

    def _other_primary(self, than: Server) -> Server | None:
        new = self.primary()
        with new.client() as client:
            well = new is not than and client.info("replication")["role"] == "master"
        return new if well else None

    def agreed(self) -> bool:
        """Whether all Sentinels hold one server for the primary, and for well.

        While one is in doubt, or changes the primary, another may be named any moment.
        """
        views = set()
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                facts = _facts(client)
                views.add((facts["port"], facts["flags"]))
        return len(views) == 1 and views.pop()[1] == "master"

    def fail_over(self) -> Server:
        """Have the Sentinels change the primary although it is well; the new one."""
        old = self.primary()
        with self.sentinels[0].client() as client:

            def changed() -> Server | None:
                facts = _facts(client)
                if int(facts["port"]) != old.port:
                    return self._other_primary(old)
                # A Sentinel refuses while it has not seen the replica once more, gives up when
                # a step takes longer than its timeout, and on a busy machine the others may
                # bring the old primary back: then it is asked again.
                if "failover_in_progress" not in facts["flags"]:
                    client.execute_command("SENTINEL", "FAILOVER", SERVICE)
                return None

            new: Server = until(changed, "the Sentinels change the primary", seconds=120.0)
        # Until it is told so the old one takes writes, which are lost.
        with old.client() as client:
            until(lambda: client.info("replication")["role"] == "slave", "old primary follows")
        return new


@contextlib.contextmanager
def running_sentinels(
    *options: str, replicas: int = 2, sentinels: int = 3, down_after_ms: int = DOWN_AFTER_MS
) -> Iterator[Watched]:
    """A primary with replicas and Sentinels that know each other, for the block.

    Raises:
        NoServer: no binary.
    """
    with running_replicated(replicas, *options) as group:
        settings = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {group.primary.port} {sentinels // 2 + 1}\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}\n"
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}\n"
            f"sentinel parallel-syncs {SERVICE} {replicas}\n"
        )
        with running_servers(sentinels, sentinel=settings) as watchers:
            for watcher in watchers:
                with watcher.client() as client, contextlib.suppress(ResponseError):
                    # Redis 6.2 does not know it, and takes some seconds longer.
                    client.execute_command(
                        *("SENTINEL", "DEBUG", "INFO-PERIOD", "200", "ASK-PERIOD", "200"),
                        *("PUBLISH-PERIOD", "200", "PING-PERIOD", "100"),
                    )
            for watcher in watchers:
                with watcher.client() as client:
                    until(
                        lambda c=client: _knows(c, sentinels - 1, replicas),
                        f"Sentinel at {watcher.port} knows the others",
                        seconds=30.0,
                    )
            yield Watched(group, watchers)


def _knows(client: Any, others: int, replicas: int) -> bool:
    facts = _facts(client)
    return int(facts["num-other-sentinels"]) >= others and int(facts["num-slaves"]) >= replicas


def _facts(client: Any) -> dict[str, str]:
    """What a Sentinel knows of the primary."""
    facts = client.execute_command("SENTINEL", "MASTER", SERVICE)
    if isinstance(facts, list):
        facts = dict(zip(facts[::2], facts[1::2], strict=True))
    return {_text(name): _text(value) for name, value in facts.items()}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
