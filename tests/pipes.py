"""A named pipe where a file is expected: whoever opens it to read waits for somebody who writes."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 3.0  # seconds until whoever waits is let go, so that the test fails and does not hang


@contextmanager
def pipe_at(path: Path) -> Iterator[None]:
    """Put a pipe there.

    Raises:
        AssertionError: the block was held up by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    writer = threading.Timer(PATIENCE, write, [path])
    began = time.monotonic()
    writer.start()
    try:
        yield
    finally:
        writer.cancel()
        path.unlink(missing_ok=True)
    assert time.monotonic() - began < PATIENCE, "it was held up by a pipe"


def write(path: Path) -> None:
    """Give whoever reads something to read, and an end."""
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, b"0")
    os.close(pipe)
