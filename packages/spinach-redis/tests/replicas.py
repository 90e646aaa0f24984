"""A primary with replicas."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .servers import running_servers, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .servers import Server

__all__ = ["Replicated", "running_replicated"]


@dataclass
class Replicated:
    """One server, and those that copy it."""

    primary: Server
    replicas: list[Server]

    @property
    def servers(self) -> list[Server]:
        """All of them."""
        return [self.primary, *self.replicas]

    def wait_synced(self) -> None:
        """Wait until every replica follows."""
        for replica in self.replicas:
            with replica.client() as client:
                until(
                    lambda c=client: c.info("replication").get("master_link_status") == "up",
                    f"replica at {replica.port} follows",
                )


@contextlib.contextmanager
def running_replicated(replicas: int = 1, *options: str) -> Iterator[Replicated]:
    """A primary with replicas that follow it, for the block.

    Raises:
        NoServer: no binary.
    """
    # Without the delay in which a primary waits for further replicas to copy to.
    quick = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "5")
    with running_servers(1 + replicas, *quick, *options) as [primary, *others]:
        for replica in others:
            with replica.client() as client:
                client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        group = Replicated(primary, others)
        group.wait_synced()
        yield group
