"""An order, its receipt, and a daily count."""

from datetime import timedelta

import pytest
from django.db import transaction
from shop.models import Order
from shop.tasks import send_receipt
from shop.views import place

# Workers see only what is committed, so no transaction may surround a test.
pytestmark = pytest.mark.django_db(transaction=True)

ORDER = {"item": "tea", "email": "ada@example.org"}


def test_an_order_gets_its_receipt(client, mailoutbox, spinach_jobs, spinach_worker):
    assert client.post("/orders/", ORDER).status_code == 202
    assert spinach_jobs.one(send_receipt).task_args == (Order.objects.get().pk,)
    spinach_worker.drain()
    assert [mail.to for mail in mailoutbox] == [["ada@example.org"]]


def test_an_order_that_is_rolled_back_gets_none(spinach_jobs):
    with transaction.atomic():
        place(**ORDER)
        transaction.set_rollback(True)
    spinach_jobs.assert_not_scheduled(send_receipt)


def test_a_lost_worker_causes_no_second_receipt(client, mailoutbox, spinach_jobs, spinach_worker):
    client.post("/orders/", ORDER)
    spinach_worker.crash(spinach_jobs.one(send_receipt))
    spinach_worker.run_until_finished()
    assert (spinach_jobs.one(send_receipt).attempt, len(mailoutbox)) == (2, 1)


def test_a_week_brings_seven_counts(mailoutbox, spinach_worker):
    spinach_worker.advance(timedelta(days=7))
    assert [mail.body for mail in mailoutbox] == ["0"] * 7
