"""Writes the generated pages about Redis: the keys, and what users read when it fails.

    python docs/redis_pages.py

The keys come from the module that names them, the messages from the code that raises or
logs them. A test compares the pages with what this would write.
"""

from __future__ import annotations

import inspect
import logging
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis, Sentinel, exceptions
from redis.connection import Connection

from spinach.const import MAX_FAILED, MAX_FAILED_AGE, MAX_FAILED_BYTES
from spinach.exc import SpinachError
from spinach_redis import RedisBroker, keys
from spinach_redis import scripts as script
from spinach_redis.client.client import not_asked
from spinach_redis.client.retry import LOCKOUT_SECONDS, Lockout
from spinach_redis.conversion import living_error
from spinach_redis.producer import version_error
from spinach_redis.server.examine import examine
from spinach_redis.server.older_jobs import warn_of_jobs
from spinach_redis.server.permissions import acl_line, commands
from spinach_redis.topology.topology import Node
from spinach_redis.transport.connection import Answer
from spinach_redis.transport.errors import to_broker_error
from spinach_redis.transport.fakes import check_server
from spinach_redis.transport.health import LOGGER, STEADY_SECONDS, Health
from spinach_redis.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE = Path(__file__).parent / "reference"
ADDRESS = "redis.example:6379"

KEYS_HEAD = """\
# Keys on Redis

<!-- Written by docs/redis_pages.py; change spinach_redis.keys instead. -->

Look, but do not write: every change of these keys is made by one of the scripts of
`spinach-redis`, which hold all the invariants of [the life of a job](../design/states.md)
together. What an operator may set by hand stands at the end.

All keys of a queue begin with `{namespace/queue}:`, whose braces keep them on one node of a
Cluster; on a Cluster an application grows by adding queues. `{namespace}:queues` is the set of
the queues that exist. Namespaces cannot contain `/`, and no name `{` or `}`, so no two
applications meet unless they share a namespace. Keys without braces, such as `shop/mail`, are of
[the older `spinach`](../guides/migrating.md).

| after the tag | type | holds | written or read by |
|---|---|---|---|
"""

KEYS_TAIL = """
`running:<member>` is taken by the scripts that look at the leases of a member: `fetch`,
`report`, `beat`, `recover`, `reconcile`, `leave`, `join`, `counts`, `find`, `list`, `cancel`,
`workers` and `limit`. `result:<job>` is taken by `report` where ends are to be kept, and by `ends`
where its caller is going to wait; `producer:<session>` by `enqueue`, `taken:<call>` by
`revive_all`. These three expire. The sizes in `guard` are those of `cancelling` and `progress`,
where they are not 0.

The scores of `declared` and `slots` are all 0, so that the server keeps them in the order of
their bytes: what belongs to a task stands together. `ZRANGEBYLEX {shop/mail}:slots
[mail.send| (mail.send}` shows the slots of `mail.send` that are occupied, since `}` comes next
to `|`. `HGET {shop/mail}:held-ends mail.send` shows the numbers of the first and the last job
that waits for one; `HGET {shop/mail}:held mail.send|<number>` shows which job it is.

A stored id is a kind character, `0` for a job that runs at most once and `1` for one that may
repeat, and the job's UUID. A record is the job itself, byte for byte as it was scheduled.

## How large they grow

| | bound |
|---|---|
| jobs, and the lists and sets of their ids | the jobs that are not done, and the failed ones |
| failed jobs | <bounds> of records and reasons, or what workers say |
| `cancelled`, and its ids in `ready` | the jobs cancelled behind one that no fetch has taken yet |
| `cancelling`, `progress` | the leased jobs |
| members | live processes; a dead one goes with its recovery |
| `producer:<session>` | of the last 10 minutes: as many for a queue as calls schedule at once |
| `taken:<call>` | of the last minute: one for each 500 jobs of `retry_all` and `discard_all` |
| `results`, `results-until` | the jobs that ended within their `keep_result`; workers drop others |
| `awaited`, `result:<job>` | the jobs that someone waits for, or did some seconds ago |
| `limits`, `declared` | the limited tasks, and those of each member |
| periodic tasks | those declared within 30 days |
| `flow` | 22 small fields |
| all others | one small value |

When the last job is done and the last worker has left, what stays is `version`, `guard`,
`leases`, `enqueued`, `flow`, `failed-bytes`, the failed jobs, the ends of jobs that were asked to
be kept, the periodic tasks, and what an operator has set. No server forgets an end by itself: those
that are kept no longer go when the next worker comes.

## What an operator may do

[Operating](../guides/operating.md) has the calls for all of it. Where no Python is at hand:

`SET {shop/mail}:paused 1` stops the queue `mail`: no process takes a job of it any more, and
what runs ends. `DEL` lets it go on, after five seconds at the latest; `queues.resume` wakes a
worker at once. Each worker process logs a WARNING when it meets the pause, and a line when it is
over.

`HSET {shop/mail}:limits mail.send 3` lets at most three jobs of a limited task run, whatever the
releases declare. An empty value leaves it to them again. A task that had no limit needs
`limits.set`, which counts the jobs that run already.
"""

MESSAGES_HEAD = """\
# When Redis fails

<!-- Written by docs/redis_pages.py; change the messages in spinach_redis instead. -->

What you read, and what to do. The messages are what the code raises or logs, with
`redis.example:6379` for your server; passwords never appear in them.

Two rules hold for all of it. **Workers** never end because of a fault that passes: they log
one warning when it begins, one line when it is over, and go on. **`schedule`** tries for
`client_timeout`, five seconds by default, then raises an error that has each job's id in
`.stored`, `.unknown` or `.not_sent`. Everything goes to the logger `spinach.broker.redis`;
[Log messages](log-messages.md) has those of the other loggers.
"""


PERMISSIONS_HEAD = """\
# Permissions on Redis

<!-- Written by docs/redis_pages.py, from what server/permissions.py reads off the scripts. -->

A user of the server who may do what Spinach does in one namespace, and nothing else. Producers
and workers need the same. Here the namespace is `shop`, and the password is yours to choose:

"""

PERMISSIONS_MORE = """
Put it into the ACL file of the server, or say it with `ACL SETUSER` and without the word `user`.
Tests run all the brokers' behaviours as such a user, and deny each of the commands in turn to
see that it is missed.

Where a provider withholds `info` or `client|unblock`, Spinach goes without: there is no warning
of eviction, and a stop may take five seconds longer. Without the keys `shop/*` there is none of
[jobs that the older `spinach` left](../guides/migrating.md).

The line for your own user and namespace:

```python
from spinach_redis.server.permissions import acl_line

print("user", acl_line("shop-worker", "shop", wait_replicas=True))
```

Some need a little more:

| | add |
|---|---|
"""


# -- the keys ------------------------------------------------------------------


def keys_page() -> str:
    """The text of the page about keys."""
    rows = [
        f"| {_code(name)} | {kind} | {_cell(holds)} | {users(name)} |"
        for name, kind, holds in table()
    ]
    tail = KEYS_TAIL.replace("<bounds>", failed_bounds())
    return KEYS_HEAD + "\n".join(rows) + "\n" + tail


def failed_bounds() -> str:
    """What the failed store of a queue keeps unless something else is said."""
    return f"{MAX_FAILED:,} a queue, {MAX_FAILED_AGE.days} days, {MAX_FAILED_BYTES // 2**20} MiB"


def table() -> list[tuple[str, str, str]]:
    """Name, type and content of each key, as the module's docstring draws them."""
    lines = inspect.cleandoc(keys.__doc__ or "").splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("====")]
    rows = []
    for line in lines[rules[1] + 1 : rules[2]]:
        name, kind, holds = line.split(maxsplit=2)
        rows.append((name, kind, holds))
    return rows


def users(name: str) -> str:
    """The scripts that declare this key."""
    found = [each.name for each in script.SCRIPTS if name in getattr(keys, each.name.upper(), ())]
    if name in keys.KEPT:
        found.append("report, where ends are to be kept")
    return ", ".join(found)


def _code(name: str) -> str:
    return f"`{name}`"


def _cell(text: str) -> str:
    """Text in which no character ends the cell of a table."""
    return text.replace("|", "\\|")


# -- the messages --------------------------------------------------------------


def raised(call: Callable[[], object]) -> str:
    """What a call raises, as the interpreter prints it."""
    try:
        call()
    except SpinachError as error:
        return told(error)
    raise AssertionError("nothing was raised")


def told(error: Exception) -> str:
    """An error as the interpreter prints it."""
    return f"{type(error).__name__}: {error}"


def served(error: Exception) -> str:
    """What becomes of an error that redis-py raised."""
    return told(to_broker_error(error, ADDRESS))


def logged(call: Callable[[], object]) -> str:
    """What a call logs, with the level."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign] # one function is all this handler has
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        call()
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
    return "\n".join(lines)


class Answers:
    """Stands in for client and node of `examine`: a server of some version."""

    def __init__(self, name: bytes, version: bytes, memory: bytes = b"") -> None:
        self.health = Health(ADDRESS)
        told = [b"server", name, b"version", version]
        self._answers = [Answer(self.health, reply) for reply in (told, memory)]

    def probe(self, *_commands: Any, **_options: Any) -> list[Any]:
        """What the server says of itself."""
        return self._answers


def examined(*facts: bytes) -> bool:
    """Let a worker look at a server."""
    server: Any = Answers(*facts)
    return examine(server, server)


class LeftBehind:
    """Stands in for a client: a server with jobs of the older spinach, whose workers are gone."""

    def probe(self, *_commands: Any) -> list[Any]:
        """Numbers of queued and future jobs, and of periodic tasks; no workers; the time."""
        counted = (12, 3, 1, [], [b"1700000000", b"0"])
        return [Answer(Health(ADDRESS), reply) for reply in counted]


def looks_out() -> None:
    """A worker is about to join a queue that the older spinach used."""
    client: Any = LeftBehind()
    warn_of_jobs(client, "shop", "mail", all_of_it=True)


def comes_and_goes() -> None:
    """A server that is away for two calls."""
    health = Health(ADDRESS)
    refused = to_broker_error(exceptions.ConnectionError("Connection refused."), ADDRESS)
    health.failed(refused)
    health.failed(refused)
    health.failed_at -= STEADY_SECONDS
    health.answered()


def locked_out() -> None:
    """A password that never comes."""
    health, gate = Health(ADDRESS), Lockout()
    gate.answered(ADDRESS, "join")
    refused = exceptions.AuthenticationError("invalid username-password pair or user is disabled.")
    gate.tolerates(health, "fetch", refused)
    now = time.monotonic()
    gate.refused = dict.fromkeys(gate.refused, (now - LOCKOUT_SECONDS, now))
    gate.tolerates(health, "fetch", refused)


def imitation() -> Exception:
    """What a connection to fakeredis ends in."""
    try:
        check_server([b"server", b"fakeredis"])
    except exceptions.RedisError as error:
        return error
    raise AssertionError("nothing was raised")


def served_after_a_hang() -> str:
    """What becomes of a call that is not made, since one before it waited in vain."""
    node = Node(ConnectionSettings(Connection, {"host": "redis.example"}))
    node.health.hung(exceptions.TimeoutError("Timeout reading from socket"), time.monotonic() - 5)
    return told(not_asked(node).error or AssertionError("it was asked"))


def still_running() -> Exception:
    """What a worker is told beside one of an earlier release."""
    return living_error("mail", [b'30000 \n{"host": "app1", "pid": "4711"}', 3_000])


def sections() -> list[tuple[str, list[str], str]]:
    """Heading, messages, and what to do."""
    broker = RedisBroker
    # redis-py gives no types to its Sentinels.
    sentinel: Any = Sentinel
    replica = sentinel([]).slave_for("shop")
    return [
        (
            "It is down, or away",
            [
                served(exceptions.ConnectionError("Error 111 connecting. Connection refused.")),
                served(exceptions.TimeoutError("Timeout reading from socket")),
                served_after_a_hang(),
                logged(comes_and_goes),
            ],
            (
                "Nothing, if it comes back: no job is lost by it, and no worker is taken for dead, "
                "because after an outage every process has a whole lease to prove that it lives. "
                "The line that it is available again comes when no call has failed for six "
                "seconds. "
                "`ScheduleUncertain` instead of `BrokerUnavailable` means that a request was sent "
                "and its answer never came: look for the ids in `.unknown` before you schedule "
                "them again."
            ),
        ),
        (
            "It is full",
            [
                served(
                    exceptions.OutOfMemoryError(
                        "command not allowed when used memory > 'maxmemory'."
                    )
                )
            ],
            (
                "Nothing was stored of the jobs in `.not_sent`. Workers go on draining a full "
                "server: every outcome is accepted. Raise `maxmemory`, discard failed jobs, or "
                "start more workers."
            ),
        ),
        (
            "It refuses writes for a while",
            [
                served(exceptions.ReadOnlyError("You can't write against a read only replica.")),
                served(exceptions.BusyLoadingError("Redis is loading the dataset in memory")),
                served(
                    exceptions.ResponseError(
                        "BUSY Redis is busy running a script. You can only call SCRIPT KILL."
                    )
                ),
                served(exceptions.ConnectionError("max number of clients reached")),
                served(
                    exceptions.ResponseError(
                        "MISCONF Redis is configured to save RDB snapshots, but it is currently "
                        "unable to persist to disk."
                    )
                ),
            ],
            (
                "A failover, a restart, a slow script, too many connections, a full disk. "
                "All of it is tried again. When READONLY stays, the address is that of a replica: "
                "give the broker the primary, or a client made by `Sentinel.master_for`. When "
                "MISCONF stays, look at the disk of the server."
            ),
        ),
        (
            "It is too old",
            [
                raised(lambda: examined(b"redis", b"6.0.16")),
                raised(lambda: examined(b"valkey", b"7.1.0")),
            ],
            (
                "`start_workers` raises it at the first join. Older servers lack commands that the "
                "scripts need."
            ),
        ),
        (
            "It may evict jobs",
            [logged(lambda: examined(b"redis", b"7.2.4", b"maxmemory_policy:allkeys-lru"))],
            (
                "Set `maxmemory-policy noeviction`. With any other policy a server that is full "
                "deletes keys, which are your jobs, and no broker can notice."
            ),
        ),
        (
            "The older spinach left jobs there",
            [logged(looks_out)],
            (
                "These workers do not run those jobs. [Migrating](../guides/migrating.md) tells "
                "how to move them. Each worker process says so once, when it joins the queue."
            ),
        ),
        (
            "It does not let us in",
            [
                served(exceptions.AuthenticationError("Authentication required.")),
                served(
                    exceptions.AuthenticationError(
                        "invalid username-password pair or user is disabled."
                    )
                ),
                served(
                    exceptions.NoPermissionError(
                        "User shop has no permissions to run the 'evalsha' command"
                    )
                ),
                logged(locked_out),
            ],
            (
                "A process that was never let in raises these at once. One that was let in before "
                "keeps trying, since a new password may be on its way to it: workers until the "
                "same call was refused for five minutes on end, then they stop and raise it, and "
                "`schedule` for `client_timeout`. What a user of the server needs stands in "
                "[Permissions](redis-permissions.md)."
            ),
        ),
        (
            "It is part of a Cluster",
            [served(exceptions.MovedError("8613 10.0.0.7:6379"))],
            "Pass a `redis.cluster.RedisCluster` to `RedisBroker`. A URL always means one server.",
        ),
        (
            "It is no Redis server",
            [served(imitation())],
            (
                "fakeredis is recognised on the first connection, before a job is stored. Its "
                "clients are refused by the constructor already. "
                "[Testing](../guides/testing.md) shows what to use."
            ),
        ),
        (
            "Another release wrote the queue",
            [told(version_error("mail", b"3")), told(still_running())],
            (
                "A queue whose keys have the layout of a newer release is left alone. One of an "
                "older release is converted by the first worker that joins it, once the workers "
                "of that release have ended: [Upgrading](../guides/redis.md#upgrading). Jobs of a "
                "newer record version inside a queue of this layout are parked, and taken by the "
                "newer release."
            ),
        ),
        (
            "The settings cannot work",
            [
                raised(lambda: broker.from_url("http://redis.example")),
                raised(lambda: broker.from_url("redis+sentinel://redis.example/jobs")),
                raised(lambda: broker.from_url("redis://redis.example/jobs")),
                raised(lambda: broker(Redis(), url="redis://redis.example")),
                raised(lambda: broker.from_url("unix://socket")),
                raised(lambda: broker(Redis(decode_responses=True))),
                raised(lambda: broker(Redis(socket_timeout=1))),
                raised(lambda: broker(replica)),
            ],
            "All of these are raised by the constructor, before any connection is opened.",
        ),
    ]


def messages_page() -> str:
    """The text of the page about failures."""
    parts = [MESSAGES_HEAD]
    for heading, messages, advice in sections():
        shown = "\n\n".join(wrapped(message) for message in messages)
        parts.append(f"## {heading}\n\n```text\n{shown}\n```\n\n{textwrap.fill(advice, 95)}\n")
    return "\n".join(parts)


def wrapped(message: str) -> str:
    """A message, of several lines perhaps, at the width of a page."""
    return "\n".join(
        textwrap.fill(line, 92, break_long_words=False, break_on_hyphens=False)
        for line in message.splitlines()
    )


# -- the permissions -----------------------------------------------------------


def permissions_page() -> str:
    """The text of the page about a user's permissions."""
    line = acl_line("shop", "shop").replace("reset on", "reset on >password", 1)
    shown = textwrap.fill(line, 92, break_long_words=False, break_on_hyphens=False)
    plain = set(commands())
    rows = [
        ("a Cluster", commands(cluster=True)),
        ("`wait_replicas` above 0", commands(wait_replicas=True)),
        ("another database than 0", commands(database=True)),
    ]
    more = "\n".join(
        f"| {what} | {' '.join(_granted(each) for each in needed if each not in plain)} |"
        for what, needed in rows
    )
    return f"{PERMISSIONS_HEAD}```text\nuser {shown}\n```\n{PERMISSIONS_MORE}{more}\n"


def _granted(command: str) -> str:
    """A command in a cell of a table, where a bar would end the cell."""
    return "`+" + command.replace("|", "\\|") + "`"


#: What this writes.
PAGES = {
    "redis-keys.md": keys_page,
    "redis-messages.md": messages_page,
    "redis-permissions.md": permissions_page,
}


if __name__ == "__main__":
    for name, text in PAGES.items():
        (REFERENCE / name).write_text(text(), encoding="utf-8")
        print(f"Wrote {REFERENCE / name}")
