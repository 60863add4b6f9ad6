"""The Data Store's commands."""
