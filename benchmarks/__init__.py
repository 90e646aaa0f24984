"""Spinach beside its peers, measured in one run; `nox -s bench` or `python -m benchmarks`.

Nothing is imported here: the adapters run in environments that hold one contestant each.
"""
