"""Which servers there are, and which of them has a key."""
