"""The entry point of a worker process: settings from the environment, logging set up here."""

import logging
import os
from collections.abc import Mapping
from datetime import timedelta

from spinach import Engine, MemoryBroker, Tasks

tasks = Tasks(queue="mail", max_retries=5)


@tasks.task(name="mail.send")
def send_mail(to: str) -> None:
    logging.getLogger("shop.mail").info("Sent a mail to %s", to)


def make_engine(env: Mapping[str, str]) -> Engine:
    if url := env.get("REDIS_URL"):
        from spinach import RedisBroker

        spin = Engine(RedisBroker.from_url(url), namespace=env.get("NAMESPACE", "shop"))
    else:
        spin = Engine(MemoryBroker(), namespace=env.get("NAMESPACE", "shop"))
    spin.attach_tasks(tasks)
    return spin


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(name)s: %(message)s")
    spin = make_engine(os.environ)
    spin.schedule(send_mail, "operator@example.org")
    spin.start_workers(  # until SIGTERM or Ctrl-C
        number=int(os.environ.get("WORKERS", "5")),
        queue=os.environ.get("QUEUES", "mail").split(","),
        stop_when_queue_empty=os.environ.get("STOP_WHEN_EMPTY", "yes") == "yes",
        grace=timedelta(seconds=float(os.environ.get("GRACE_SECONDS", "20"))),
    )
    print("Stopped in good order")
