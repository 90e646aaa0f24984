"""One server: how to connect to it, what a connection carries, and what its errors mean."""
