"""Slots that are processes: the pool in the worker, the program of a slot, and what they say to each other."""
