"""Files that are written whole, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
