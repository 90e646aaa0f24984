"""Monthly reports: one request orders a report, others ask for it until it is there."""

import asyncio
import os
import pathlib
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path

from spinach import Engine, RedisBroker, RetryException

Month = Annotated[str, Path(pattern=r"^\d{4}-\d\d$")]

broker = RedisBroker.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
spin = Engine(broker, namespace="reports")
app = FastAPI()
folder = pathlib.Path(os.environ.get("BOOKS", "."))


@spin.task(name="report.write", max_retries=20)
def write_report(month: str) -> None:
    books = folder / f"{month}.csv"
    if not books.exists():
        raise RetryException(f"the books of {month} are not closed yet")
    total = sum(int(line.split(",")[1]) for line in books.read_text().splitlines())
    (folder / f"{month}.txt").write_text(f"Sold in {month}: {total}")


@app.post("/reports/{month}", status_code=202)
async def order_report(month: Month) -> None:
    # Scheduling waits for the server, which must not hold up the event loop.
    await asyncio.to_thread(spin.schedule, write_report, month)


@app.get("/reports/{month}")
def read_report(month: Month) -> str:
    report = folder / f"{month}.txt"
    if not report.exists():
        raise HTTPException(404, "It is not written yet.")
    return report.read_text()
