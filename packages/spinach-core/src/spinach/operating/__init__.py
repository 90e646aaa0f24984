"""What operators see and steer: queues, workers, limits of tasks, and periodic tasks."""
