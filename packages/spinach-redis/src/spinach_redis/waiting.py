"""The wait for a wake-up, and the way to end it.

Each group of markers that one command can take has a `BZPOPMIN` of its own, on a
connection of its own. Where one fetch serves all queues it goes out together with the
`BZPOPMIN`, so that whoever takes a marker also fetches, even if this process dies in
between (I14). Of several groups the first one that is woken breaks off the others, and
all queues are fetched afterwards; what a process takes along that dies in between is a
wake-up, which is made up for when the others' waits end.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import RedisError

from spinach.backoff import CallBackoff
from spinach.const import BLOCK_SECONDS
from spinach.exc import BrokerError
from spinach.support.realtime import time
from spinach_redis.client.alarm import Alarm
from spinach_redis.client.caller import judge
from spinach_redis.client.errors import Fault, fault_of
from spinach_redis.client.health import LOGGER
from spinach_redis.client.link import Command, Link, LinkPool
from spinach_redis.client.router import Answer, Router, answers_of, rested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spinach_redis.client.caller import Caller
    from spinach_redis.client.link import Call, Exchange, Request
    from spinach_redis.topology.node import Node
    from spinach_redis.topology.topology import Topology

__all__ = ["Waiting"]

#: The server may answer this much later than it was told to, in seconds.
ANSWER_MARGIN_SECONDS: Final = 2.0

#: Longest wait for the rest of an answer that has begun, in seconds. The same for all
#: waits, however long: a link with another timeout would be a new connection each time.
LINK_SECONDS: Final = BLOCK_SECONDS + ANSWER_MARGIN_SECONDS

#: How long a wait that is to end is tried to be broken off, in seconds.
BREAK_OFF_SECONDS: Final = 2.0

#: How often that is tried, in seconds.
BREAK_OFF_STEP_SECONDS: Final = 0.005

#: A wait that a server refuses for now is not begun again at once, in seconds.
REFUSED_PAUSE_SECONDS: Final = 0.2


#: What a wait is called where it is refused.
_WAIT: Final = Command(b"BZPOPMIN")


class Waiting:
    """Waits for wake-ups; thread safe.

    Args:
        topology: says where markers are.
        caller: reaches the servers while one waits.
        replicas: how many replicas shall confirm a fetch that goes out with a wait.
    """

    def __init__(self, topology: Topology, caller: Caller, replicas: int = 0) -> None:
        self._topology = topology
        self._caller = caller
        self._router = Router(topology, LinkPool(), replicas)
        # Guards the first two attributes below. Taken by an engine's own threads alone: a call
        # from a signal handler must find no lock that its own thread has.
        self._lock = threading.Lock()
        self._alarms: set[Alarm] = set()
        #: The next wait is not to begin.
        self._interrupted = False
        # Those that nobody waits at.
        self._resting: deque[Alarm] = deque()
        # The log was told that CLIENT UNBLOCK is refused.
        self._told_of_unblock = False
        # What follows belongs to who waits: a wait that was refused for good, and those that
        # could not begin.
        self._refused: BrokerError | None = None
        # The last one was refused for now, and what was fetched beside it was not to wait.
        self._denied = False
        self._backoff = CallBackoff()
        self._told_of_begin = False

    def wait(
        self, groups: Sequence[Sequence[bytes]], seconds: float, fetch: Call | None = None
    ) -> tuple[Any, BrokerError | None] | None:
        """Wait until a marker can be taken, an interrupt, a failure, or `seconds`.

        Args:
            groups: markers; those of one group live in one place.
            seconds: longest wait.
            fetch: sent behind the wait of the only group.

        Returns:
            What `Caller.ask_confirmed` has for the fetch; None where it is still to be
            made.

        Raises:
            BrokerError: as `Caller.ask`.
        """
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        try:
            alarm = self._begin()
        except OSError as error:
            # No descriptor is left.
            nowhere = Answer(error, self._topology.health, unsent=True)
            self._not_begun(nowhere, REFUSED_PAUSE_SECONDS, time.sleep)
            return None
        if alarm is None:
            return None
        try:
            if self._denied:
                self._denied = False
                alarm.pause(REFUSED_PAUSE_SECONDS)
                return None
            with _Waits(self._router, alarm) as waits:
                behind: list[Request] = []
                if fetch is not None:
                    behind = [fetch, *self._router.confirmation(seconds + ANSWER_MARGIN_SECONDS)]
                problem = waits.begin(groups, seconds, behind)
                if problem is not None:
                    self._not_begun(problem, seconds, alarm.pause)
                    return None
                self._begun()
                waits.listen(seconds + ANSWER_MARGIN_SECONDS)
                self._break_off(waits)
                return self._result(waits, alarm, fetch)
        finally:
            self._end(alarm)

    def interrupt(self) -> None:
        """End the waits in progress, or else let the next one not begin."""
        with self._lock:
            alarms = list(self._alarms)
            self._interrupted = not alarms
            for alarm in alarms:
                alarm.ring()

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._router.close()
        while self._resting:
            with contextlib.suppress(IndexError):
                self._resting.pop().close()

    def _begin(self) -> Alarm | None:
        with self._lock:
            if self._interrupted:
                self._interrupted = False
                return None
            try:
                alarm = self._resting.pop()
            except IndexError:
                alarm = Alarm()
            self._alarms.add(alarm)
            return alarm

    def _end(self, alarm: Alarm) -> None:
        with self._lock:
            self._alarms.discard(alarm)
            alarm.rest()
            self._resting.append(alarm)

    def _break_off(self, waits: _Waits) -> None:
        """End the waits that have not ended by themselves."""
        deadline = time.monotonic() + BREAK_OFF_SECONDS
        # A wait may not have begun on the server, so once may be too early.
        while waits.silent:
            for node, links in waits.silent_by_node().items():
                commands = [
                    Command(b"CLIENT", b"UNBLOCK", b"%d" % link.client_id) for link in links
                ]
                try:
                    self._caller.ask_at(node, *commands)
                except BrokerError as error:
                    if not self._told_of_unblock:
                        self._told_of_unblock = True
                        LOGGER.warning(
                            "Waits for jobs cannot be cut short, stops take seconds longer: %s",
                            error,
                        )
                    # They end by themselves, late.
                    return
            if time.monotonic() >= deadline:
                # The server does not answer; whatever it sends later is not wanted.
                waits.abandon()
                return
            waits.listen(BREAK_OFF_STEP_SECONDS)

    def _not_begun(self, problem: Answer, seconds: float, pause: Callable[[float], None]) -> None:
        """Leave the server alone for a while; the fetch that follows is a look for jobs.

        Its connection may serve well all the same, so that nothing else would slow the
        next try, nor tell of it.
        """
        if fault_of(problem.reply) in (Fault.FATAL, Fault.REFUSED):
            judge([problem], [_WAIT], self._topology.admission)
        if self._backoff.failing and not self._told_of_begin and not problem.health.down:
            self._told_of_begin = True
            LOGGER.warning(
                "Workers cannot wait for jobs on Redis at %s, polling instead: %s",
                problem.health.address,
                problem.reply,
            )
        pause(min(self._backoff.failed(), seconds))

    def _begun(self) -> None:
        self._backoff.succeeded()
        if self._told_of_begin:
            self._told_of_begin = False
            LOGGER.info("Workers can wait for jobs again, polling ends")

    def _result(
        self, waits: _Waits, alarm: Alarm, fetch: Call | None
    ) -> tuple[Any, BrokerError | None] | None:
        fetched: Answer | None = None
        refused = False
        for node, exchange in waits.receive():
            if fetch is not None:
                doubt = self._router.doubt_of(exchange, 2)
                [_, fetched] = answers_of(exchange, 2, node.health, doubt)
                if self._led_elsewhere(fetched, node):
                    fetched = None
            waited = answers_of(exchange, 1, node.health)
            if self._led_elsewhere(waited[0], node):
                refused = True
                continue
            # An error that passes costs a wake-up, which is late then. One that does not is
            # raised, but what was fetched beside it must not be lost.
            try:
                [(value, _)] = judge(waited, [_WAIT], self._topology.admission)
            except BrokerError as error:
                if fetched is None or isinstance(fetched.reply, Exception):
                    raise
                self._refused = error
                continue
            refused = refused or isinstance(value, BrokerError)
        if fetched is not None and fetch is not None:
            self._denied = refused
            return judge([fetched], [fetch], self._topology.admission)[0]
        if refused:
            # Else a slot on its way to another node would keep this process busy.
            alarm.pause(REFUSED_PAUSE_SECONDS)
        return None

    def _led_elsewhere(self, answer: Answer, node: Node) -> bool:
        """Whether a node did nothing because the queue is elsewhere."""
        return (
            isinstance(answer.reply, Exception)
            and not answer.uncertain
            and self._topology.redirected(answer.reply, node) is not None
        )


class _Waits:
    """The waits of one thread; a context manager that gives the connections back."""

    def __init__(self, router: Router, alarm: Alarm) -> None:
        self._router = router
        self._alarm = alarm
        self._lent: list[tuple[Node, Link]] = []
        self._begun: list[tuple[Node, Link]] = []
        self._unread: set[Link] = set()
        #: Those that nothing has come from.
        self.silent: set[Link] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node, link in self._lent:
            self._alarm.unwatch(link)
            if link in self._unread:
                # The next owner must not take the answer for its own.
                link.close()
            self._router.pool.give_back(node, link)

    def begin(
        self, groups: Sequence[Sequence[bytes]], seconds: float, behind: Sequence[Request]
    ) -> Answer | None:
        """Send the waits, unless one of the servers cannot be reached; the reason if so."""
        for markers in groups:
            health, begin = self._router.topology.health, time.monotonic()
            try:
                node = self._router.topology.node_of(markers[0])
                health = node.health
                if health.rest_until > begin:
                    return rested(node)
                link = self._router.pool.take(node, LINK_SECONDS)
                self._lent.append((node, link))
                link.open(with_id=True)
            except (RedisError, OSError) as error:
                self._router.topology.doubt()
                health.hung(error, begin)
                return Answer(error, health, unsent=True)
            self._begun.append((node, link))
        for (_, link), markers in zip(self._begun, groups, strict=True):
            self._unread.add(link)
            link.send([Command(b"BZPOPMIN", *markers, f"{seconds:.3f}"), *behind])
            # One that broke has news already.
            with contextlib.suppress(OSError):
                self._alarm.watch(link)
                self.silent.add(link)
        return None

    def listen(self, seconds: float) -> None:
        """Wait until something comes from one of them, the alarm, or `seconds`."""
        if not self.silent:
            return
        if len(self.silent) < len(self._begun):
            seconds = min(seconds, BREAK_OFF_STEP_SECONDS)
        self.silent.difference_update(self._alarm.listen(seconds))

    def silent_by_node(self) -> dict[Node, list[Link]]:
        """Those that nothing has come from."""
        by_node: dict[Node, list[Link]] = {}
        for node, link in self._begun:
            if link in self.silent:
                by_node.setdefault(node, []).append(link)
        return by_node

    def abandon(self) -> None:
        """Give up the connections that nothing has come from."""
        for link in self.silent:
            self._alarm.unwatch(link)
            link.close()
        self._unread -= self.silent
        self._begun = [(node, link) for node, link in self._begun if link not in self.silent]
        self.silent.clear()

    def receive(self) -> Iterator[tuple[Node, Exchange]]:
        """What came of each."""
        for node, link in self._begun:
            # One that breaks is closed, and a child of this process may keep it open.
            self._alarm.unwatch(link)
            exchange = link.receive()
            self._unread.discard(link)
            yield node, exchange
