"""Channels onto the standard library's logging."""
