"""The same from inside an event loop."""

import asyncio

import pytest
from app import app
from httpx2 import ASGITransport, AsyncClient

URL = "/reports/2030-01"


@pytest.mark.anyio
async def test_the_event_loop_goes_on_during_a_drain(books, spinach_worker):
    books.write_text("tea,3\n")
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        await client.post(URL)
        await asyncio.to_thread(spinach_worker.drain)
        assert (await client.get(URL)).status_code == 200
