"""An order, its receipt, and a mail after a week."""

from datetime import timedelta
from smtplib import SMTPServerDisconnected
from unittest.mock import call

from spinach import JobStatus

ORDER = {"item": "tea", "email": "ada@example.org"}


def test_the_answer_does_not_wait_for_the_receipt(client, mailbox, spinach_jobs, spinach_worker):
    assert client.post("/orders", json=ORDER).status_code == 202
    spinach_jobs.assert_scheduled("mail.receipt", call("ada@example.org", "tea"))
    mailbox.assert_not_called()
    spinach_worker.drain()
    mailbox.assert_called_once()


def test_a_refused_order_schedules_nothing(client, spinach_jobs):
    assert client.post("/orders", json={"item": "tea"}).status_code == 400
    spinach_jobs.assert_not_scheduled("mail.receipt")


def test_a_receipt_survives_an_absent_mail_server(client, mailbox, spinach_jobs, spinach_worker):
    mailbox.side_effect = [SMTPServerDisconnected("away"), SMTPServerDisconnected("away"), {}]
    client.post("/orders", json=ORDER)
    with spinach_jobs.expect_failure("mail.receipt", SMTPServerDisconnected, count=2):
        spinach_worker.advance(timedelta(hours=1))
    assert spinach_jobs.one("mail.receipt").attempt == 3


def test_a_mail_asks_for_a_review_after_a_week(client, mailbox, spinach_jobs, spinach_worker):
    client.post("/orders", json=ORDER)
    spinach_worker.advance(timedelta(days=6))
    assert spinach_jobs.one("mail.review").status is JobStatus.WAITING
    spinach_worker.advance(timedelta(days=2))
    assert mailbox.call_args.args[0]["Subject"] == "Do you like it?"
