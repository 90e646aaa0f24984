"""Ask `spinach` for each broker, where some of their distributions are not installed.

Usage: python -I tools/ask_for_brokers.py

A broker that is installed has to come, and the others have to be missed in words that name
what to install.
"""

from __future__ import annotations

import importlib.metadata
import sys

#: Broker → the distribution that brings it.
BROKERS = {"MemoryBroker": "spinach-memory", "RedisBroker": "spinach-redis"}


def installed(distribution: str) -> bool:
    """Whether pip knows of it."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def fault(broker: str, distribution: str) -> str | None:
    """What is wrong with the answer to `from spinach import ...`; None is good."""
    try:
        exec(f"from spinach import {broker}", {})
    except ImportError as error:
        print(f"from spinach import {broker}: {error}")
        if installed(distribution):
            return f"{broker} does not come although {distribution} is installed: {error}"
        if f"pip install {distribution}" not in str(error):
            return f"the error about {broker} does not say how to install it: {error}"
        return None
    print(f"from spinach import {broker}: here it is")
    return None if installed(distribution) else f"{broker} came without {distribution}"


if __name__ == "__main__":
    faults = [found for each in BROKERS.items() if (found := fault(*each)) is not None]
    sys.exit("\n".join(faults) if faults else 0)
