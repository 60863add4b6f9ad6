"""Waiting for a thing instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONG = 30.0  # seconds after which a thing that did not happen never will
LOOK = 0.01


def wait_for(look: Callable[[], T], *, seconds: float = LONG, what: str = "it") -> T:
    """Look again and again until there is something that counts as true; what that is.

    Raises:
        AssertionError: it did not come in time.
    """
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(LOOK)
    return found
