"""The table of orders."""

from django.db import migrations, models

AUTOMATIC = {"auto_created": True, "serialize": False, "verbose_name": "ID"}


class Migration(migrations.Migration):
    """Makes it."""

    initial = True
    operations = [  # noqa: RUF012 - as Django writes it
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(primary_key=True, **AUTOMATIC)),
                ("item", models.CharField(max_length=100)),
                ("email", models.EmailField(max_length=254)),
                ("receipt_sent", models.BooleanField(default=False)),
            ],
        ),
    ]
