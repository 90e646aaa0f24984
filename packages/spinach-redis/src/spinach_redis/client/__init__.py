"""Calls: made once for workers, tried until a deadline for the clients of a queue."""
