"""The tasks of the web application; knows no engine, so both its processes import it."""

import os
import pathlib

from spinach import Tasks

tasks = Tasks(max_retries=3)


@tasks.task(name="welcome.write")
def write_welcome(user: str) -> None:
    folder = pathlib.Path(os.environ["OUTBOX"])
    (folder / user).write_text(f"Welcome, {user}! Yours, process {os.getpid()}.")
