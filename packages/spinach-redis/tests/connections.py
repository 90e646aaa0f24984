"""Connections without a pool, and what they are asked."""

from __future__ import annotations

from typing import Any

from spinach_redis.topology.user_settings import settings_of_url
from spinach_redis.transport.connection import Answer, Connection
from spinach_redis.transport.health import Health

__all__ = ["causes", "connection_to", "exchange", "replies"]


def connection_to(url: str, timeout_seconds: float, **options: Any) -> Connection:
    settings = settings_of_url(url)
    return Connection(settings, Health(settings.address), timeout_seconds, **options)


def exchange(connection: Connection, *requests: Any, **options: Any) -> list[Answer]:
    """Send, and read all the answers."""
    connection.send(requests, **options)
    return connection.receive()


def replies(answers: list[Answer]) -> list[Any]:
    """Of those that have one."""
    return [answer.reply for answer in answers if answer.cause is None]


def causes(answers: list[Answer]) -> list[Exception]:
    """Of those that have no reply."""
    return [answer.cause for answer in answers if answer.cause is not None]
