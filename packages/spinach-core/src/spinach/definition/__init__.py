"""What a task is: its function with its signature and options, and the types of its calls."""
