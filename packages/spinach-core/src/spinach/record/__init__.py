"""How a job is written: its id, the line that brokers may read, and the payload."""
