"""Worker threads open connections, as threads of the web server do; who closes them."""

from typing import Any

from django.apps import AppConfig
from django.db import close_old_connections, connections

from spinach import signals


def close_all(*_: Any, **__: Any) -> None:
    connections.close_all()


def close_old(*_: Any, **__: Any) -> None:
    close_old_connections()


class Shop(AppConfig):
    """The application; its receivers serve every engine, that of a test included."""

    name = "shop"

    def ready(self) -> None:
        """Django knows its models now."""
        signals.job_started.connect(close_old)
        signals.worker_terminated.connect(close_all)
