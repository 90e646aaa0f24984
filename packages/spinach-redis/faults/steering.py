"""A program of an operator who retries, discards and purges without an end, until it is killed.

What it does goes to its output, one line each, which begins with its process id: `begun`, then
`done` with how many jobs it was told of, or `broke`.

Run as `python steering.py URL NAMESPACE SEED`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable

# A script's own folder is on the path.
from application import open_client, say

from spinach import Engine, JobStatus
from spinach.exc import BrokerError
from spinach.operating import queues
from spinach_redis import RedisBroker, requests

#: Jobs that one call deals with: so few that each of these is many calls.
CHUNK = 5
#: Longest pause between two calls of one, and between two of them, in seconds.
CALL_SECONDS, PAUSE_SECONDS = 0.01, 0.05


def main() -> None:
    """Go on for ever."""
    url, namespace, seed = sys.argv[1:]
    rng = random.Random(seed)
    queues.PURGE_CHUNK = requests.FAILED_CHUNK = CHUNK  # type: ignore[misc]
    engine = Engine(RedisBroker(open_client(url)), namespace)

    def pause(_: object) -> None:
        time.sleep(rng.uniform(0, CALL_SECONDS))

    verbs: dict[str, Callable[[], int]] = {
        "retry": lambda: engine.failed.retry_all("spinach", task="faulty", progress=pause),
        "discard": lambda: engine.failed.discard_all("spinach", error=KeyError, progress=pause),
        "purge": lambda: engine.queues.purge("shelf", JobStatus.QUEUED, progress=pause),
    }
    while True:
        verb = rng.choice([*verbs])
        say(os.getpid(), "begun", verb)
        try:
            count = verbs[verb]()
        except BrokerError:
            say(os.getpid(), "broke", verb)
        else:
            say(os.getpid(), "done", verb, count)
        time.sleep(rng.uniform(0, PAUSE_SECONDS))


if __name__ == "__main__":
    main()
