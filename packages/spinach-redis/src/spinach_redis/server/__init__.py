"""What is asked of a server before its first job, and what its user may do."""
