"""What a task is: its function with its signature and options; types and options of calls."""
