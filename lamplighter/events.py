"""Tells listeners what happened."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

E = TypeVar("E")


class Dispatcher:
    """Listeners by the class of the event; they are called in the order in which they were added."""

    def __init__(self) -> None:
        self._listeners: dict[type[Any], list[Callable[[Any], object]]] = {}

    def listen(self, event: type[E], listener: Callable[[E], object]) -> None:
        """Call `listener` with each event of exactly this class."""
        self._listeners.setdefault(event, []).append(listener)

    def listeners(self, event: type[E]) -> Sequence[Callable[[E], object]]:
        """Who would hear of it, so that an event need not be made in vain: a list that tells of later ones, too."""
        return self._listeners.setdefault(event, [])

    def checkpoint(self) -> Callable[[], None]:
        """A function that takes back the listeners that are added from now on."""
        counts = {event: len(listeners) for event, listeners in self._listeners.items()}

        def take_back() -> None:
            for event, listeners in self._listeners.items():
                del listeners[counts.get(event, 0) :]

        return take_back

    def dispatch(self, event: object) -> None:
        """Call the listeners; what one raises reaches the caller."""
        for listener in self._listeners.get(type(event), ()):
            listener(event)
