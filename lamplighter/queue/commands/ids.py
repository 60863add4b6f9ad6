"""The ids of jobs that commands are given."""

from collections.abc import Iterable

from lamplighter.errors import ConsoleError


def refuse_empty(ids: Iterable[str]) -> None:
    """Look at ids before anything is done with them.

    Raises:
        ConsoleError: one is empty, as a variable of a shell is that nobody has set.
    """
    if not all(id.strip() for id in ids):
        raise ConsoleError("An id is empty, and names no job. Nothing was done.")
