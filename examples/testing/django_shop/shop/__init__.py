"""A shop whose tasks belong to a registry, which no test has to replace."""
