"""Names, limits and tunables that more than one module needs; no code."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

#: Version of every distribution of this repository; they move in lockstep.
VERSION: Final = "0.1.0"

#: What a task or queue may be called. A worker puts a record whose names it does not take for
#: such into a park that nobody empties. So a release that allows more has to mark those records
#: with a flag or a version of their own, for the workers of earlier releases.
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:/@-]{1,200}")

#: What a namespace may be called: without `/`, which ends it in the names of keys.
NAMESPACE_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:-]{1,200}")

#: Queue of a task that names none, and what `start_workers` consumes by default.
DEFAULT_QUEUE: Final = "spinach"

#: Prefix that keeps applications on one server apart.
DEFAULT_NAMESPACE: Final = "spinach"

#: Retries of a task that asks for none: the job runs at most once.
DEFAULT_MAX_RETRIES: Final = 0

#: Worker threads that `start_workers` starts by default.
DEFAULT_WORKER_NUMBER: Final = 5

#: Largest encoded payload of a job, in bytes, unless the broker says otherwise.
DEFAULT_MAX_PAYLOAD_BYTES: Final = 512 * 1024

#: How long a worker process owns what it fetched without proof of life.
DEFAULT_LEASE: Final = timedelta(seconds=30)

#: Heartbeats in one lease: one is due each third of it.
BEATS_PER_LEASE: Final = 3

#: No job is started in the last seconds of a lease, so that a slow clock or a
#: slow thread cannot start what another process may already own.
LEASE_MARGIN_SECONDS: Final = 5.0

#: Lost workers after which a job is poison and goes to the failed store.
MAX_LOSSES: Final = 3

#: Retries that one job may have; bounds the backoff's arithmetic.
MAX_RETRIES_LIMIT: Final = 1_000_000

#: Most jobs a process keeps beyond its idle threads, and most that one fetch brings of them:
#: while one half is fetched, the threads have the other.
MAX_BUFFER: Final = 2000
MAX_FETCH: Final = 1000

#: Horizon of the buffer: it holds at most this much work, in seconds.
BUFFER_HORIZON_SECONDS: Final = 0.05

#: Longest wait of a subscriber for a wake-up, in seconds.
BLOCK_SECONDS: Final = 5.0

#: Most bytes of jobs that one fetch brings, one larger job excepted.
MAX_FETCH_BYTES: Final = 1024 * 1024

#: Most items of maintenance (promotions, recoveries) that one call does.
MAINTENANCE_CHUNK: Final = 100

#: Most outcomes that one report carries.
REPORT_CHUNK: Final = 1000

#: Text of an error that the failed store keeps, in bytes.
MAX_ERROR_BYTES: Final = 16 * 1024

#: Failed jobs that a queue keeps, by number and by age.
MAX_FAILED: Final = 10_000
MAX_FAILED_AGE: Final = timedelta(days=30)

#: Shortest period of a periodic task.
MIN_PERIODICITY: Final = timedelta(seconds=1)

#: Nesting of arguments beyond which `schedule` refuses them; also ends cycles.
MAX_ARGUMENT_DEPTH: Final = 200
