"""What every part may use: checks, logging, real time, forks. Nothing here knows a job."""
