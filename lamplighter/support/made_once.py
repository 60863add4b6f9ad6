"""A client that each process makes for itself, when it is first needed."""

from collections.abc import Callable
from typing import Generic, TypeVar

from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever

T = TypeVar("T")


class MadeOnce(Generic[T]):
    """One client for all threads of a process.

    Where several threads need it first at the same moment, each makes one, and all of them get the same: another one
    would be freed with the call that made it, and close connections that are in use. Nobody waits for another's, since
    making one may mean to connect.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._kept: dict[str, T] = {}  # one at most; a dictionary, since setdefault is one step
        watch(self, in_child=MadeOnce._begin_as_child)

    def get(self) -> T:
        """The client of this process."""
        try:
            return self._kept["made"]
        except KeyError:
            return self._kept.setdefault("made", self._make())

    def known(self) -> T | None:
        """The client, if there is one by now."""
        return self._kept.get("made")

    def forget(self) -> None:
        """Have another one made when it is needed."""
        self._kept = {}

    def _begin_as_child(self) -> None:
        """The client is the parent's."""
        keep_for_ever(*self._kept.values())
        self._kept = {}
