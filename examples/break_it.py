"""Kill a worker process in the middle of its jobs, and see where they go; needs REDIS_URL."""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

from spinach import Engine, RedisBroker

IS_DOOMED = sys.argv[1:] == ["doomed"]
lease = timedelta(seconds=10)  # the shortest there is, so that you wait less than usual
spin = Engine(RedisBroker.from_url(os.environ["REDIS_URL"], lease=lease), namespace="break-it")
sent = threading.Event()


def send() -> None:
    print(f"Process {os.getpid()} started a job\n", end="", flush=True)
    threading.Event().wait() if IS_DOOMED else sent.set()


spin.task(name="mail.send", max_retries=3)(send)
spin.task(name="card.charge")(send)  # at most once, the default
if IS_DOOMED:
    spin.start_workers(number=2)  # until it is killed

spin.schedule("mail.send")
spin.schedule("card.charge")
with subprocess.Popen([sys.executable, __file__, "doomed"], stdout=subprocess.PIPE) as doomed:
    print(*(doomed.stdout.readline().decode() for _ in range(2)), sep="", end="")
    doomed.kill()
began = time.monotonic()
print("Killed it with both jobs unfinished; this process takes care of the queue now")
spin.start_workers(number=2, block=False)
assert sent.wait(60)
spin.stop_workers()
(entry,) = spin.failed.list()
print(f"After {time.monotonic() - began:.0f} s the mail is sent, which may happen twice, and")
print(f"{entry.job.task_name} is in the failed store: {entry.message}")
