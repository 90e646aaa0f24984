"""What a worker process runs: its threads, and what passes between them."""
