"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """An order, and whether its receipt is on its way."""

    item = models.CharField(max_length=100)
    email = models.EmailField()
    receipt_sent = models.BooleanField(default=False)
