"""Everything that may end a worker."""
