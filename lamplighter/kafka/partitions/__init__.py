"""What of a partition is done, announced and begun; pure: no client, no thread."""
