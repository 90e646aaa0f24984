"""What the shop does after it has answered; knows no engine and no web framework."""

import os
import smtplib
from email.message import EmailMessage

from spinach import Tasks

tasks = Tasks(queue="mail", max_retries=5)


@tasks.task(name="mail.receipt")
def send_receipt(to: str, item: str) -> None:
    send(to, "Your receipt", f"Thank you for buying {item}.")


@tasks.task(name="mail.review")
def ask_for_review(to: str, item: str) -> None:
    send(to, "Do you like it?", f"Tell others about {item}.")


def send(to: str, subject: str, text: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@example.org", to, subject
    mail.set_content(text)
    with smtplib.SMTP(os.environ.get("SMTP_HOST", "localhost"), timeout=10) as server:
        server.send_message(mail)
