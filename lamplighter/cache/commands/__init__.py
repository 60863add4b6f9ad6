"""The cache's commands."""
