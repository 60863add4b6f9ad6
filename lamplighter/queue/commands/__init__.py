"""The queue's commands."""
