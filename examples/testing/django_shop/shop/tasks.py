"""What the shop does after it has answered."""

from datetime import timedelta

from django.core.mail import send_mail

from shop.models import Order
from spinach import Tasks

tasks = Tasks(queue="shop")


@tasks.task(name="receipt.send", max_retries=5)
def send_receipt(order_id: int) -> None:
    order = Order.objects.get(pk=order_id)
    if order.receipt_sent:  # by an attempt whose worker died before it could tell
        return
    send_mail("Your receipt", f"You bought {order.item}.", None, [order.email])
    order.receipt_sent = True
    order.save(update_fields=["receipt_sent"])


@tasks.task(name="orders.count", periodicity=timedelta(days=1))
def count_orders() -> None:
    send_mail("Orders so far", str(Order.objects.count()), None, ["office@example.org"])
