"""Tells listeners what happened."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lamplighter.errors import ConfigError
from lamplighter.support.unrun import name_of, refuse_lazy_function, refuse_unrun

E = TypeVar("E")


class Dispatcher:
    """Listeners by the class of the event; they are called in the order in which they were added."""

    def __init__(self) -> None:
        self._listeners: dict[type[Any], list[Callable[[Any], object]]] = {}

    def listen(self, event: type[E], listener: Callable[[E], object]) -> None:
        """Call `listener` with each event of exactly this class.

        Raises:
            ConfigError: it is async, or a generator: a call of it would do nothing.
        """
        refuse_lazy_function(listener, f"The listener {name_of(listener)}", ConfigError)
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
            returned = listener(event)
            if returned is not None:
                check_returned(returned, listener)


def check_returned(returned: object, listener: Callable[..., object]) -> None:
    """Look at what a listener has returned: anything but work that is still to be done.

    Raises:
        HandlerError: nobody would do it.
    """
    refuse_unrun(returned, f"The listener {name_of(listener)}")
