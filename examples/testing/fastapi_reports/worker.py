"""The workers of the reports, a process of their own: `python worker.py`."""

from app import spin

if __name__ == "__main__":
    spin.start_workers()
