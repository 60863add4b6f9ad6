"""The Data Store of a Directory of Services."""
