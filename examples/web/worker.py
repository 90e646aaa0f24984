"""Later: the workers, moved to a process of their own. Same application, same tasks."""

import logging

from app import spin

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="worker: %(message)s")
    spin.start_workers(number=2)  # until SIGTERM
