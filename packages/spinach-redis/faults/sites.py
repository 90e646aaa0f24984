"""Servers of three kinds, and what happens to them while workers work."""

from __future__ import annotations

import contextlib
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from spinach_redis import scripts as script

from ..tests.clusters import Cluster, is_ok, running_cluster
from ..tests.proxy import Loss, Proxy
from ..tests.sentinels import SERVICE, Watched, running_sentinels
from ..tests.servers import Server, running_server
from .fleet import until
from .scene import version_of

__all__ = ["SITES", "Site"]

#: Longest time that a server stands still: its lease and its neighbours outlive it.
STALL_SECONDS = 6.0
#: Keys that move from node to node at once, and the pause before more of them do.
PORTION = 3
PORTION_SECONDS = 0.02
SETTLE_SECONDS = 60.0

Fault = Callable[[], None]


class Site(ABC):
    """What workers of one namespace work with.

    Args:
        rng: chooses.
    """

    #: Of the brokers.
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    #: Further queue, on another server if there is one.
    other_queue = ""
    #: Whether leases, and with them slots, may be forgotten while their jobs run.
    forgets_leases = False

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    @property
    @abstractmethod
    def url(self) -> str:
        """As the programs read it."""

    def worker_url(self, number: int) -> str:
        """For one of the workers."""
        return self.url

    @property
    @abstractmethod
    def name(self) -> str:
        """As the table names it."""

    @abstractmethod
    def victim(self) -> Server:
        """A server that has to do with the jobs now."""

    @property
    def faults(self) -> list[Fault]:
        """One of them is chosen at a time; each ends before the next one begins."""
        return [
            self.restart_server, self.stall_server, self.cut_connections, self.forget_scripts,
            self.fill_memory,
        ]  # fmt: skip

    def restart_server(self) -> None:
        self.victim().restart(kill=True)

    def stall_server(self) -> None:
        server = self.victim()
        server.freeze()
        threading.Event().wait(self._rng.uniform(0.2, STALL_SECONDS))
        server.thaw()

    def cut_connections(self) -> None:
        with self.victim().client() as client, contextlib.suppress(RedisError):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def forget_scripts(self) -> None:
        with self.victim().client() as client:
            client.script_flush()

    def fill_memory(self) -> None:
        with self.victim().client() as client:
            client.config_set("maxmemory", 1)
            threading.Event().wait(self._rng.uniform(0, 1.0))
            client.config_set("maxmemory", 0)

    @abstractmethod
    def end(self) -> None:
        """No fault is left to come: wait until all is well."""


class OneServer(Site):
    """A server that writes each change to its disk, with a proxy before each worker."""

    def __init__(self, rng: random.Random, server: Server, workers: int) -> None:
        super().__init__(rng)
        self._server = server
        self._proxies = [Proxy(server.port) for _ in range(workers)]

    @property
    def url(self) -> str:
        return self._server.url

    def worker_url(self, number: int) -> str:
        return self._proxies[number].url

    @property
    def name(self) -> str:
        with self._server.client() as client:
            return version_of(client)

    def victim(self) -> Server:
        return self._server

    @property
    def faults(self) -> list[Fault]:
        # Twice as likely as the others: a call is soon made, and there are many.
        return [*super().faults, self.lose_a_call, self.lose_a_call]

    def lose_a_call(self) -> None:
        each = self._rng.choice(script.SCRIPTS)
        self._rng.choice(self._proxies).lose(self._rng.choice(list(Loss)), each.sha)

    def end(self) -> None:
        for proxy in self._proxies:
            proxy.lose(Loss.ANSWER, b"", times=0)

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()


class OneCluster(Site):
    """Three nodes that write each change to their disks, and queues on two of them."""

    def __init__(self, rng: random.Random, cluster: Cluster, namespace: str) -> None:
        super().__init__(rng)
        self._cluster = cluster
        home = cluster.owner(f"{{{namespace}/spinach}}")
        other = next(node for node in cluster.nodes if node is not home)
        self.other_queue = cluster.queue_on(other, namespace)
        self._tags = [f"{{{namespace}/{queue}}}" for queue in ("spinach", self.other_queue)]

    @property
    def url(self) -> str:
        return f"cluster://{','.join(f'127.0.0.1:{node.port}' for node in self._cluster.nodes)}"

    @property
    def name(self) -> str:
        with self._cluster.nodes[0].client() as client:
            return f"{version_of(client)} Cluster"

    def victim(self) -> Server:
        return self._cluster.owner(self._rng.choice(self._tags))

    @property
    def faults(self) -> list[Fault]:
        return [*super().faults, self.move_queue, self.move_queue]

    def restart_server(self) -> None:
        super().restart_server()
        self._settle()

    def stall_server(self) -> None:
        super().stall_server()
        self._settle()

    def move_queue(self) -> None:
        tag = self._rng.choice(self._tags)
        slot, source = key_slot(tag.encode()), self._cluster.owner(tag)
        target = self._rng.choice([node for node in self._cluster.nodes if node is not source])
        self._cluster.begin_migration(slot, source, target)
        while self._cluster.move_keys(slot, source, target, PORTION):
            threading.Event().wait(PORTION_SECONDS)
        self._cluster.end_migration(slot, source, target)

    def end(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Wait until the nodes hold each other for alive, as an operator would."""

        def well() -> bool:
            for node in self._cluster.nodes:
                with node.client() as client:
                    view = client.execute_command("CLUSTER NODES")
                    if not is_ok(client) or "fail" in str(view):
                        return False
            return True

        until(well, SETTLE_SECONDS, "nodes hold each other for alive")


class OneService(Site):
    """A primary and its replica, which Sentinels exchange; all is waited for at the replica."""

    options = {"wait_replicas": 1}  # noqa: RUF012 - never changed
    # The lease of a job that may repeat is not waited for.
    forgets_leases = True

    def __init__(self, rng: random.Random, watched: Watched) -> None:
        super().__init__(rng)
        self._watched = watched

    @property
    def url(self) -> str:
        return f"sentinel://{','.join(f'{h}:{p}' for h, p in self._watched.addresses)}/{SERVICE}"

    @property
    def name(self) -> str:
        with self._watched.primary().client() as client:
            return f"{version_of(client)} Sentinel"

    def victim(self) -> Server:
        return self._watched.primary()

    @property
    def faults(self) -> list[Fault]:
        return [*super().faults, self.fail_over, self.stall_replica, self.cut_replica]

    def restart_server(self) -> None:
        """The primary dies and its replica follows on."""
        old = self.victim()
        old.stop(kill=True)
        self._watched.wait_for_other_primary(old)
        old.start()
        self._settle()

    def stall_server(self) -> None:
        """Beyond a second its replica takes over, and it does not know when it wakes up."""
        super().stall_server()
        self._settle()

    def fail_over(self) -> None:
        """The Sentinels exchange the two although both are well."""
        old = self.victim()
        with self._rng.choice(self._watched.sentinels).client() as client:

            def asked() -> bool:
                # Refused while it has not seen the replica again, or changes them already.
                with contextlib.suppress(ResponseError):
                    client.execute_command("SENTINEL", "FAILOVER", SERVICE)
                _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return int(port) != old.port

            until(asked, SETTLE_SECONDS, "another primary")
        self._settle()

    def stall_replica(self) -> None:
        replica = self._replica()
        replica.freeze()
        threading.Event().wait(self._rng.uniform(0.2, STALL_SECONDS))
        replica.thaw()
        self._settle()

    def cut_replica(self) -> None:
        with self.victim().client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        self._settle()

    def end(self) -> None:
        self._settle()

    def _replica(self) -> Server:
        primary = self.victim()
        return next(server for server in self._watched.group.servers if server is not primary)

    def _settle(self) -> None:
        """Wait until there is one primary again, and a replica that follows it."""

        def well() -> bool:
            # While they choose, Sentinels disagree or name none.
            with contextlib.suppress(AssertionError, RedisError):
                primary, replica = self.victim(), self._replica()
                with primary.client() as one, replica.client() as other:
                    facts = other.info("replication")
                    return bool(
                        one.info("replication")["role"] == "master"
                        and facts["role"] == "slave"
                        and facts["master_port"] == primary.port
                        and facts["master_link_status"] == "up"
                        and self._watched.agreed()
                    )
            return False

        until(well, SETTLE_SECONDS, "a primary and its replica")


@contextlib.contextmanager
def one_server(rng: random.Random, namespace: str, workers: int) -> Iterator[Site]:
    with running_server("--appendonly", "yes") as server:
        site = OneServer(rng, server, workers)
        with contextlib.closing(site):
            yield site


@contextlib.contextmanager
def one_cluster(rng: random.Random, namespace: str, workers: int) -> Iterator[Site]:
    with running_cluster(3, "--appendonly", "yes") as cluster:
        yield OneCluster(rng, cluster, namespace)


@contextlib.contextmanager
def one_service(rng: random.Random, namespace: str, workers: int) -> Iterator[Site]:
    with running_sentinels("--appendonly", "yes", replicas=1) as watched:
        yield OneService(rng, watched)


#: What makes one for a block, given what chooses, a namespace and a number of workers.
SITES: dict[str, Callable[[random.Random, str, int], contextlib.AbstractContextManager[Site]]] = {
    "server": one_server,
    "cluster": one_cluster,
    "sentinel": one_service,
}
