"""The servers that other tests rely on do what their names say."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from .clusters import running_cluster
from .replicas import running_replicated
from .sentinels import FAILOVER_SECONDS, SERVICE, running_sentinels
from .servers import running_server


def test_server_with_aof_remembers_after_it_was_killed() -> None:
    with running_server("--appendonly", "yes") as server:
        port = server.port
        with server.client() as client:
            client.set("a", 1)
        server.restart(kill=True)
        assert server.port == port
        with server.client() as client:
            assert client.get("a") == b"1"


def test_replica_has_what_the_primary_was_told() -> None:
    with (
        running_replicated(1) as group,
        group.primary.client() as client,
        group.replicas[0].client() as copy,
    ):
        client.set("a", 1)
        assert client.wait(1, 5000) == 1
        assert copy.get("a") == b"1"


@pytest.mark.timeout(FAILOVER_SECONDS)
def test_sentinels_name_another_primary_when_it_died() -> None:
    with running_sentinels(replicas=1) as watched:
        first = watched.primary()
        first.stop(kill=True)
        second = watched.wait_for_other_primary(first)
        assert second is watched.group.replicas[0]
        master = watched.sentinel().master_for(SERVICE)
        with master:
            assert master.set("a", 1)


def test_slot_of_a_cluster_moves_to_another_node() -> None:
    with running_cluster() as cluster, cluster.client() as client:
        client.set("{a}1", 1)
        source = cluster.owner("{a}")
        target = next(node for node in cluster.nodes if node is not source)
        cluster.migrate(key_slot(b"a"), target)
        assert cluster.owner("{a}") is target
        assert client.get("{a}1") == b"1"


def test_replica_of_a_cluster_takes_over() -> None:
    with running_cluster(replicas=True) as cluster:
        node = cluster.nodes[0]
        with node.client() as client:
            assert client.info("replication")["connected_slaves"] == 1
        node.stop(kill=True)
        assert cluster.wait_for_takeover(node) is cluster.replicas[0]
