"""The Redis broker of Spinach: jobs on a Redis or Valkey server.

It needs Redis 6.2 or Valkey 7.2, or newer: one server, one that Sentinels name, or a Cluster.
`keys.py` and the head of each script in `scripts/` tell what it stores.
"""

from spinach_redis.broker import RedisBroker

__all__ = ["RedisBroker"]
