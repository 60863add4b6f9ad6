"""The standard streams of a process that ends."""

import sys
from contextlib import suppress


def flush_output() -> None:
    """Write what is still to be written."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
            stream.flush()
