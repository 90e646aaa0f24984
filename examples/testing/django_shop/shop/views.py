"""The shop's only page."""

from functools import partial

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from shop.models import Order
from shop.tasks import send_receipt, tasks


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    placed = place(request.POST["item"], request.POST["email"])
    return HttpResponse(f"Order {placed.pk}", status=202)


def place(item: str, email: str) -> Order:
    with transaction.atomic():
        placed = Order.objects.create(item=item, email=email)
        # Not before the commit: a worker that is faster would not find the order.
        transaction.on_commit(partial(tasks.schedule, send_receipt, placed.pk))
    return placed
