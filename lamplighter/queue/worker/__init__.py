"""The loop of `queue:work`: pop, run, settle."""
