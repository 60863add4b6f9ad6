"""Seconds as whole milliseconds, so that nothing is due, and nothing ends, before its time."""

import math


def ceil_ms(seconds: float) -> int:
    """For what is to come or to last: a due time, a lease, a time to live."""
    return math.ceil(seconds * 1000)


def floor_ms(seconds: float) -> int:
    """For the time that it is now: a millisecond that is not over has not been reached."""
    return math.floor(seconds * 1000)
