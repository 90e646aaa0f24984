"""The transport: connections, pools, deadlines, and what an error means."""
