"""What a user of the server has to be allowed to do.

Most commands are read off the scripts. Those that the package sends by itself stand below. A
test denies each of them in turn and sees it missed.
"""

from __future__ import annotations

import re
from typing import Final

from spinach.record.names import check_name
from spinach_redis.scripts import SCRIPTS

__all__ = ["acl_line", "commands"]

#: Sent outside of scripts, by purpose.
_SENT: Final = (
    # Scripts, and the list of queues.
    *("eval", "evalsha", "sadd", "smembers"),
    # Waiting for jobs, and ending the wait.
    *("bzpopmin", "client|id", "client|unblock"),
    # Waiting for results, also while the server is full.
    *("blmove", "blpop"),
    # Whether the server may evict jobs. HELLO, which tells its version, is free to all.
    "info",
)
_CLUSTER: Final = ("asking", "cluster|slots")
_REPLICAS: Final = ("wait",)
_DATABASE: Final = ("select",)

_CALLED: Final = re.compile(r"\b(?:call|many)\('([A-Z]+)'")


def commands(
    *, cluster: bool = False, wait_replicas: bool = False, database: bool = False
) -> tuple[str, ...]:
    """The commands that the broker uses, sorted.

    Args:
        cluster: the server is a Cluster.
        wait_replicas: the broker was given a `wait_replicas`.
        database: the broker uses another database than 0.
    """
    called = {name.lower() for script in SCRIPTS for name in _CALLED.findall(script.text.decode())}
    sent = {
        *_SENT,
        *_CLUSTER * cluster,
        *_REPLICAS * wait_replicas,
        *_DATABASE * database,
    }
    return tuple(sorted(called | sent))


def acl_line(
    user: str,
    namespace: str,
    *,
    cluster: bool = False,
    wait_replicas: bool = False,
    database: bool = False,
) -> str:
    """The rule of a user who may do what Spinach does in one namespace, and nothing else.

    For `ACL SETUSER`, or a line of an ACL file after the word `user`. It sets no
    password: add `>password`.

    Args:
        user: its name.
        namespace: of the engine.
        cluster: as for `commands`.
        wait_replicas: as for `commands`.
        database: as for `commands`.

    Raises:
        InvalidName: a namespace that no engine could have.
    """
    check_name(namespace, "namespace")
    allowed = (f"+{name}" for name in commands(
        cluster=cluster, wait_replicas=wait_replicas, database=database
    ))  # fmt: skip
    # The last ones are of the older spinach: workers look whether it left jobs.
    keys = f"~{{{namespace}/*}}:* ~{{{namespace}}}:queues ~{namespace}/*"
    return " ".join((user, "reset", "on", keys, "resetchannels", "-@all", *allowed))
