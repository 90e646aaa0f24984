"""Runs the migration: `python -m spinach_redis.migrate`."""

from __future__ import annotations

import sys

from spinach_redis.migrate import main

if __name__ == "__main__":
    sys.exit(main())
