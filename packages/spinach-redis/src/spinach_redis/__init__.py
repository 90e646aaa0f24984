"""The Redis broker of Spinach: jobs on a Redis or Valkey server.

It needs Redis 6.2 or Valkey 7.2, or newer: one server, one that Sentinels name, or a
Cluster. What it stores and why is
told in `keys.py` and at the head of each script in `scripts/`.
"""

from spinach_redis.broker import RedisBroker

__all__ = ["RedisBroker"]
