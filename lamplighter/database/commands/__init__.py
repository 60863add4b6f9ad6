"""The database's commands."""
