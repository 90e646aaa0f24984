"""The workers, a process of their own: `manage.py work`."""

from typing import Any

from django.core.management import BaseCommand


class Command(BaseCommand):
    """Runs jobs until SIGTERM."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the workers."""
        from shop.engine import spin

        spin.start_workers(queue="shop")
