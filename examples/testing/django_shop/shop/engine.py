"""The engine of production; the web server and the workers import it, tests do not."""

import os

from shop.tasks import tasks
from spinach import Engine, RedisBroker

broker = RedisBroker.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
spin = Engine(broker, namespace="shop")
spin.attach_tasks(tasks)
