"""Lamplighter beside a bare consumer loop and its peers, on one machine, in one run: `python -m benchmarks`."""
