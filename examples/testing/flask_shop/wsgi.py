"""What runs in production: `flask --app wsgi run`, and `python wsgi.py` for the workers."""

import os

from app import create_app
from tasks import tasks

from spinach import Engine, RedisBroker

broker = RedisBroker.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
spin = Engine(broker, namespace="shop")
spin.attach_tasks(tasks)
app = create_app(spin)

if __name__ == "__main__":
    spin.start_workers(queue="mail")
