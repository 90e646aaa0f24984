"""Names, limits and tunables that more than one module needs; no code."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

#: Version of every distribution of this repository; they move in lockstep.
VERSION: Final = "0.1.0"

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

#: Retries that one job may have; bounds the backoff's arithmetic.
MAX_RETRIES_LIMIT: Final = 1_000_000

#: Most jobs that a process fetches for its buffer, and most of them that one fetch brings: while
#: it fetches one half, the threads have the other. Jobs for idle threads are not counted.
MAX_BUFFER: Final = 2000
MAX_FETCH: Final = 1000

#: Horizon of the buffer: it holds at most this much work, in seconds.
BUFFER_HORIZON_SECONDS: Final = 0.05

#: Longest wait of a subscriber for a wake-up, in seconds.
BLOCK_SECONDS: Final = 5.0

#: Most bytes of jobs that one fetch brings, one larger job excepted.
MAX_FETCH_BYTES: Final = 1024 * 1024

#: Most outcomes that one report carries.
REPORT_CHUNK: Final = 1000

#: Characters of the message that is shown of a failed attempt before the job is retried.
MAX_SHOWN: Final = 500

#: Sums of float seconds that should be equal may differ by less than this. A clock
#: that a test turns stands exactly at the instant that is due.
TOLERANCE_SECONDS: Final = 1e-6

#: Text of an error that the failed store keeps, in bytes.
MAX_ERROR_BYTES: Final = 16 * 1024

#: Shortest period of a periodic task.
MIN_PERIODICITY: Final = timedelta(seconds=1)

#: Longest time limit of a task.
MAX_TIME_LIMIT: Final = timedelta(days=365)

# -- what all brokers decide alike -----------------------------------------
#
# A broker may write these down once more in the language of its server, where a test
# compares them: test_policy.py of spinach-redis does.

#: Lost workers after which a job is poison and goes to the failed store.
MAX_LOSSES: Final = 3

#: A job that lost its worker runs again after a delay that is drawn evenly from 0 to this,
#: and to twice as much after each further loss, in seconds.
RECOVERY_BASE_SECONDS: Final = 3.0
RECOVERY_CAP_SECONDS: Final = 1200.0

#: What the failed store says of a job that recovery gives up: error, and message by reason.
WORKER_LOST: Final = "spinach.exc.WorkerLost"
LOST_ONCE: Final = "The worker process died while it owned the job, which runs at most once."
LOST_POISON: Final = f"The job is poison: {MAX_LOSSES} worker processes died while they ran it."
LOST_LAST: Final = "The worker process died in the last attempt of the job."

#: A clock that goes back by this or less was not set back, in ms: time servers do that all day.
#: Signs of life are kept no more exactly than this, so that it takes no write for each.
STEP_MS: Final = 1000

#: A process that is told of a dead member has this long to recover it before another one is
#: told, in ms. It recovers at once, and when the server does not answer (5 s), once more after a
#: pause (5 s at most). Since no process is told again at the next beat, 10 s later, none
#: gets in its way. If it dies as well before it did anything, the leases are taken back later by
#: as much.
NAMING_MS: Final = 12_000

#: How long a timekeeper stays one without fetching, in ms; longer than a blocking fetch of
#: five seconds, so that one that waits idly keeps its office. It is renewed by a fetch that
#: comes at least so much later than the last renewal.
TIMEKEEPER_MS: Final = 6000
RENEWAL_MS: Final = 500

#: Most jobs that one call of housekeeping promotes or recovers.
HOUSEKEEPING_CHUNK: Final = 100

#: Most jobs without a slot that one fetch moves to the held ones.
SET_ASIDE_CHUNK: Final = 500

#: Jobs of a line that are counted before one that is looked for. One that stands behind more is
#: told to stand behind at least as many.
MOST_COUNTED: Final = 1000

#: Most tasks with parked jobs that one fetch tells of.
PARKS_TOLD: Final = 100

#: Most leases to cancel that the answer to one beat names.
CANCELS_TOLD: Final = 1000

#: A queue keeps samples of how many jobs came and ended, in two rings: so many slots, each for
#: a span in ms. The oldest sample of a ring is at least a minute old, and an hour.
FINE_SAMPLES: Final = 7
FINE_SAMPLE_MS: Final = 10_000
COARSE_SAMPLES: Final = 13
COARSE_SAMPLE_MS: Final = 300_000

#: Most jobs that one call of an operator takes out of a queue.
PURGE_CHUNK: Final = 500

#: Most leases of a member, and most holders of the slots of a task, that are told one by one.
MOST_TOLD: Final = 100

#: Most failed jobs that one call looks at, of those that look for some of them.
FAILED_CHUNK: Final = 500

#: Failed jobs that a queue keeps unless `FailedRetention` says otherwise: by number, by age, and
#: by the bytes of their records and reasons. The bytes never cost the newest one. Pages that
#: state these numbers are compared with them.
MAX_FAILED: Final = 10_000
MAX_FAILED_AGE: Final = timedelta(days=30)
MAX_FAILED_BYTES: Final = 256 * 1024 * 1024

#: How long a task may have its results kept.
MIN_KEEP_RESULT: Final = timedelta(seconds=1)
MAX_KEEP_RESULT: Final = timedelta(days=366)

#: Results that one call reads or drops at most.
RESULTS_CHUNK: Final = 500

#: A periodic task that no process has declared for this long is forgotten.
MAX_PERIODIC_SILENCE: Final = timedelta(days=30)
