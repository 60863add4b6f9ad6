"""How a job gets onto a queue."""
