"""Files that are written whole, or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def read_file(path: Path) -> bytes:
    """What a file holds, at once: a pipe that somebody has put there would be waited for until somebody writes into it.

    Raises:
        OSError: it can't be read, or is something else than a file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def open_at_once(path: str, flags: int) -> int:
    """What `open` takes as its `opener`: a pipe that nobody reads is refused, and not waited for."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "It is a pipe that nobody reads", path) from error
    os.set_blocking(descriptor, True)  # what is written to a pipe that somebody reads is written whole
    return descriptor


@contextmanager
def replacing(path: Path, draft: Path) -> Iterator[None]:
    """Let the draft, which the block writes, take the place of `path` in one step.

    Whatever is raised before that, the draft is removed: on a full disk it would take the room that is missing.
    """
    with removed_on_error(draft):
        yield
        draft.replace(path)


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        FileExistsError: it is there, and stays as it is.
        OSError: it can't be written; nothing of it is left.
    """
    file = path.open("x", encoding="utf-8")
    with removed_on_error(path), file:
        file.write(text)


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Remove a file that the block has made if the block raises, be it an interrupt."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            path.unlink(missing_ok=True)
        raise


def reason_of_refusal(error: OSError, *, lock_wait: float) -> str:
    """Why files that are used under a lock can't be; a TimeoutError is that of the lock, after `lock_wait` seconds."""
    if isinstance(error, TimeoutError):
        return f"another process has held its lock for {lock_wait:g} s"
    return str(error.strerror)
