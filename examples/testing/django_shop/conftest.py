"""Fixtures of the shop's tests."""

import pytest
from django.conf import settings


@pytest.fixture(scope="session")
def spinach_tasks():
    from shop.tasks import tasks  # Django is set up by now

    return [tasks]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory):
    # A file: threads cannot share what SQLite has in memory without locking each other out.
    database = tmp_path_factory.mktemp("database") / "test.sqlite3"
    settings.DATABASES["default"]["TEST"]["NAME"] = str(database)
