"""What a job is, on the wire and off it."""
