"""What a program runs that schedules jobs: no thread, no state but the tasks it knows."""
