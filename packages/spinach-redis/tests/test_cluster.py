"""What a Cluster does to a broker: queues on several nodes, which move and die."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, ResponseError

from spinach.brokers.calls import Enrolment, Verdict
from spinach.exc import BrokerError, BrokerUnavailable
from spinach_redis import RedisBroker
from spinach_redis.keys import queues_key
from spinach_redis.transport import health

from .clusters import Cluster, running_cluster
from .jobs import QUEUE, Member, deposit, success
from .servers import Server, until
from .wakeups import WaitingFetch, blocked, fetch_of, until_blocked

NewBroker = Callable[..., RedisBroker]


@pytest.fixture
def broker(new_broker: NewBroker, cluster: Cluster) -> Iterator[RedisBroker]:
    with cluster.client() as client:
        yield new_broker(client)


@pytest.fixture
def queues(cluster: Cluster, namespace: str) -> list[str]:
    """One queue a node."""
    return [cluster.queue_on(node, namespace) for node in cluster.nodes]


def slot_of(broker: RedisBroker, queue: str) -> int:
    return key_slot(f"{{{broker.namespace}/{queue}}}".encode())


def other_node(cluster: Cluster, than: Server) -> Server:
    return next(node for node in cluster.nodes if node is not than)


def test_batch_over_queues_of_all_nodes_is_stored(broker: RedisBroker, queues: list[str]) -> None:
    jobs = [deposit(queue) for queue in queues for _ in range(700)]
    assert broker.enqueue(jobs) == [True] * len(jobs)
    assert [count.ready for count in broker.counts(queues)] == [700] * 3


def test_fetch_takes_no_more_over_all_nodes_than_it_wants(
    broker: RedisBroker, queues: list[str]
) -> None:  # I9
    members = [Member(broker, queue) for queue in queues]
    broker.enqueue([deposit(queue, max_retries=0) for queue in queues for _ in range(2)])
    taken = [len(reply.leases) for reply in fetch_of(*members, idle=3, extra=5)]
    assert taken == [2, 1, 0]
    more = [reply.more for reply in fetch_of(*members, idle=0)]
    assert more == [False, True, True]


def test_bytes_of_one_fetch_are_bounded_over_all_nodes(
    broker: RedisBroker, queues: list[str]
) -> None:  # I19
    members = [Member(broker, queue) for queue in queues]
    broker.enqueue([deposit(queue, payload=b"x" * 400_000) for queue in queues for _ in range(2)])
    taken = [len(reply.leases) for reply in fetch_of(*members, idle=6)]
    assert taken == [2, 0, 0]


@pytest.mark.parametrize("which", range(3))
def test_wait_for_queues_of_all_nodes_ends_with_the_first_of_them(
    broker: RedisBroker, cluster: Cluster, queues: list[str], which: int
) -> None:  # I14
    waiting = WaitingFetch(*(Member(broker, queue) for queue in queues))
    until_blocked(*cluster.nodes, count=3)
    job = deposit(queues[which])
    broker.enqueue([job])
    leases = [[lease.stored_id for lease in reply.leases] for reply in waiting.end()]
    assert leases[which] == [job.stored_id]
    assert sum(map(blocked, cluster.nodes)) == 0


def test_interrupt_ends_a_wait_for_all_nodes(
    broker: RedisBroker, cluster: Cluster, queues: list[str]
) -> None:
    waiting = WaitingFetch(*(Member(broker, queue) for queue in queues))
    until_blocked(*cluster.nodes, count=3)
    broker.interrupt()
    assert [reply.verdict for reply in waiting.end()] == [Verdict.APPLIED] * 3


def test_wake_ups_that_come_together_are_all_answered(
    broker: RedisBroker, cluster: Cluster, queues: list[str]
) -> None:  # I14
    """A marker that a wait took which was just broken off is not forgotten."""
    for _ in range(20):
        members = [Member(broker, queue) for queue in queues]
        waiting = WaitingFetch(*members)
        until_blocked(*cluster.nodes, count=3)
        broker.enqueue([deposit(queue) for queue in queues])
        taken = sum(len(reply.leases) for reply in waiting.end())
        while taken < 3:
            # Were a marker lost, this would wait in vain.
            taken += sum(len(reply.leases) for reply in WaitingFetch(*members).end())


def test_calls_follow_a_slot_that_moved(broker: RedisBroker, cluster: Cluster) -> None:
    broker.enqueue([deposit() for _ in range(3)])
    member = Member(broker)
    [lease] = member.take()
    slot = slot_of(broker, QUEUE)
    target = other_node(cluster, cluster.owner(f"{{{broker.namespace}/{QUEUE}}}"))
    cluster.migrate(slot, target)
    assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)
    assert len(member.take()) == 1
    cluster.migrate(slot, other_node(cluster, target))
    assert broker.enqueue([deposit()]) == [True]
    assert broker.failed_jobs(QUEUE) == []
    assert broker.counts([QUEUE])[0].ready == 2


def test_wait_follows_a_slot_that_moved(broker: RedisBroker, cluster: Cluster) -> None:
    member = Member(broker)
    waiting = WaitingFetch(member)
    until_blocked(*cluster.nodes)
    source = cluster.owner(f"{{{broker.namespace}/{QUEUE}}}")
    cluster.migrate(slot_of(broker, QUEUE), other_node(cluster, source))
    assert waiting.end()[0].verdict is Verdict.APPLIED
    waiting = WaitingFetch(member)
    until_blocked(*cluster.nodes)
    broker.enqueue([deposit()])
    assert len(waiting.end()[0].leases) == 1


def test_single_key_in_a_slot_that_is_moving_is_asked_for_at_the_target(
    broker: RedisBroker, cluster: Cluster
) -> None:
    key = queues_key(broker.namespace)
    slot, source = key_slot(key), cluster.owner(key)
    target = other_node(cluster, source)
    cluster.begin_migration(slot, source, target)
    try:
        assert broker.enqueue([deposit()]) == [True]
        with target.client() as client:
            assert client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
    finally:
        cluster.end_migration(slot, source, target)
    with cluster.client() as client:
        assert set(client.smembers(key)) == {QUEUE.encode()}


@pytest.mark.parametrize("moved", [0, 3])
def test_queue_that_is_torn_between_nodes_stands_still_until_it_is_whole(
    broker: RedisBroker, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """Nodes refuse scripts of which they have some keys and not others."""
    broker.enqueue([deposit()])
    member = Member(broker)
    slot = slot_of(broker, QUEUE)
    source = cluster.owner(f"{{{broker.namespace}/{QUEUE}}}")
    target = other_node(cluster, source)
    cluster.begin_migration(slot, source, target)
    if moved:
        cluster.move_keys(slot, source, target, count=moved)
    # Nor does a wait that is refused spin.
    for reply in (member.fetch(), WaitingFetch(member).end()[0]):
        assert reply.verdict is Verdict.UNKNOWN
        assert isinstance(reply.error, BrokerUnavailable)

    def mend(seconds: float) -> None:
        cluster.move_keys(slot, source, target)
        cluster.end_migration(slot, source, target)

    # The producer meets the same, and tries again.
    monkeypatch.setattr("spinach_redis.producer.time.sleep", mend)
    assert broker.enqueue([deposit()]) == [True]
    monkeypatch.undo()
    reply = broker.reconcile(member.turn(), [])
    assert (reply.verdict, reply.missing) == (Verdict.APPLIED, ())
    assert len(member.take(idle=5)) == 2


def test_dead_node_stops_its_own_queues_alone_until_its_replica_takes_over(
    new_broker: NewBroker, own_cluster: Cluster, namespace: str
) -> None:
    with own_cluster.client() as client:
        broker = new_broker(client)
    queues = [own_cluster.queue_on(node, namespace) for node in own_cluster.nodes]
    members = [Member(broker, queue) for queue in queues]
    broker.enqueue([deposit(queue) for queue in queues for _ in range(3)])
    leases = [reply.leases[0] for reply in [member.fetch() for member in members]]
    dead = own_cluster.nodes[0]
    with dead.client() as client:
        assert client.wait(1, 5000) == 1
    dead.stop(kill=True)
    replies = fetch_of(*members, idle=2)
    assert [reply.verdict for reply in replies] == [Verdict.UNKNOWN, *[Verdict.APPLIED] * 2]
    assert [len(reply.leases) for reply in replies] == [0, 2, 0]
    # Nor is the wait for the living held up by a queue that nobody reaches.
    assert WaitingFetch(*members).end()[1].verdict is Verdict.APPLIED
    assert broker.enqueue([deposit(queues[1])]) == [True]
    own_cluster.wait_for_takeover(dead)
    # The producer gets over it by itself, within its deadline.
    assert broker.enqueue([deposit(queues[0])]) == [True]
    reply = until(
        lambda: (
            (r := broker.reconcile(members[0].turn(), [(leases[0].stored_id, leases[0].token)]))
            and r.verdict is Verdict.APPLIED
            and r
        ),
        "reconciliation",
    )
    assert (reply.missing, reply.strays) == ((), ())
    assert broker.report([success(leases[0])]).verdicts == (Verdict.APPLIED,)
    assert len(members[0].take(idle=9)) == 3


def test_plain_client_of_a_cluster_learns_which_one_to_use(
    new_broker: NewBroker, cluster: Cluster, queues: list[str]
) -> None:
    broker = new_broker(cluster.nodes[0].url)
    assert broker.enqueue([deposit(queues[0])]) == [True]
    with pytest.raises(BrokerError, match="RedisCluster"):
        broker.enqueue([deposit(queues[1])])


def test_cluster_that_is_away_is_an_answer(new_broker: NewBroker) -> None:
    with running_cluster(1) as cluster, cluster.client() as client:
        broker = new_broker(client)
    address = f"127.0.0.1:{cluster.nodes[0].port}"
    for _ in range(2):
        reply = broker.join(QUEUE, "me", Enrolment(lease_ms=30_000))
        assert reply.verdict is Verdict.UNKNOWN
        assert address in str(reply.error)
    assert broker.counts([QUEUE])[0].verdict is Verdict.UNKNOWN
    broker._process.client.client_seconds = 0.2
    with pytest.raises(BrokerUnavailable) as caught:
        broker.enqueue([deposit()])
    assert len(caught.value.not_sent) == 1


def test_process_keeps_one_connection_a_node_for_producers_of_one_thread(
    broker: RedisBroker, cluster: Cluster, queues: list[str]
) -> None:
    for _ in range(5):
        broker.enqueue([deposit(queue) for queue in queues])
    idle = broker._process.client.pool._idle
    assert [len(each) for by_timeout in idle.values() for each in by_timeout.values()] in (
        [1], [1, 1], [1, 1, 1],
    )  # fmt: skip
    assert len(broker._process.producer._idle) == 1


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("MOVED 1 127.0.0.1:9"),
        MovedError("1 127.0.0.1:9"),
        ResponseError("MOVED 1 :9"),
    ],
)
def test_node_that_went_is_forgotten_with_the_next_map(
    broker: RedisBroker, error: Exception
) -> None:
    broker.enqueue([deposit()])
    topology = broker._process.client.topology
    led_to = topology.redirected(error, topology.node_of(b"x"))
    assert led_to is not None
    assert (led_to[0].settings.address, led_to[1]) == ("127.0.0.1:9", False)
    until(lambda: topology.node_of(b"x") and not topology._stale, "a new map", 5.0)
    assert ("127.0.0.1", 9) not in topology._nodes


@pytest.mark.parametrize("error", [ResponseError("ASK 1 ::1:9"), AskError("1 ::1:9")])
def test_redirection_for_once_changes_no_map(broker: RedisBroker, error: Exception) -> None:
    broker.enqueue([deposit()])
    topology = broker._process.client.topology
    before = list(topology._owners)
    led_to = topology.redirected(error, topology.node_of(b"x"))
    assert led_to is not None
    assert (led_to[0].settings.address, led_to[1]) == ("::1:9", True)
    assert topology._owners == before


def test_node_that_hangs_keeps_each_call_but_one_from_waiting(
    new_broker: NewBroker, own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the beats for queues of other nodes would come too late."""
    monkeypatch.setattr(health, "FIRST_REST_SECONDS", health.MOST_REST_OF_NODE_SECONDS)
    with own_cluster.client() as client:
        broker = new_broker(client)
    hung, well = own_cluster.nodes[0], own_cluster.nodes[1]
    names: list[str] = []
    for _ in range(6):
        names.append(own_cluster.queue_on(hung, broker.namespace, but=tuple(names)))
    members = [Member(broker, queue) for queue in names]
    other = Member(broker, own_cluster.queue_on(well, broker.namespace))
    # The map was read, and is not to be read again.
    broker._process.client.topology.doubt = lambda: None
    hung.freeze()
    try:
        errors = [str(broker.reconcile(member.turn(), []).error) for member in members]
        assert broker.beat([other.turn()])[0].verdict is Verdict.APPLIED
    finally:
        hung.thaw()
    assert ["not asked again" in error for error in errors] == [False] + [True] * 5
    until(
        lambda: broker.reconcile(members[0].turn(), []).verdict is Verdict.APPLIED,
        "the node to be asked again",
        10,
    )
