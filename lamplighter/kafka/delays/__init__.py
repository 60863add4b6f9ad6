"""Delayed jobs: they wait in shared delay topics for minutes, and in a table for days."""
