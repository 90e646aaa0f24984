"""What stays in memory after many jobs: nothing that grows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc
import sys
from pathlib import Path
from spinach import Batch, Engine, MemoryBroker

spin = Engine(MemoryBroker())
spin.task(name="nothing", max_retries={retries})(lambda: None)

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1])

def work():
    for _ in range(10):
        batch = Batch()
        for _ in range(10_000):
            batch.schedule("nothing")
        spin.schedule_batch(batch)
        spin.start_workers(10, stop_when_queue_empty=True)

for _ in range(3):
    work()
    print(resident(), sys.getallocatedblocks(), len(gc.get_objects()))
"""

#: Python's allocator takes memory in arenas of 1 MiB and keeps one as long as anything is in
#: it, so that chance, and what else the machine does, decide on one or two of them.
ARENAS = 2 * 2**20 // os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 0


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("retries", [0, 1], ids=["at most once", "at least once"])
def test_further_100_000_jobs_leave_the_memory_as_it_was(retries):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(retries=retries)],
        capture_output=True,
        text=True,
        check=True,
        # glibc gives threads heaps of their own, whose free parts count as resident. And
        # what coverage notes down grows.
        env={
            **{name: value for name, value in os.environ.items() if "COVERAGE" not in name},
            "MALLOC_ARENA_MAX": "1",
        },
    )
    pages, blocks, objects = zip(
        *(map(int, line.split()) for line in done.stdout.splitlines()), strict=True
    )

    assert pages[2] <= max(pages[:2]) * 1.02 + ARENAS, f"pages after each round: {pages}"
    assert blocks[2] <= blocks[1] * 1.01, f"allocated blocks after each round: {blocks}"
    assert objects[2] <= objects[1] + 10, f"objects after each round: {objects}"
