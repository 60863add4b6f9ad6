"""Which connection and queue the jobs of a class go to, where neither the dispatch nor the class says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lamplighter.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Route:
    """Where jobs go; None leaves it to the default."""

    connection: str | None = None
    queue: str | None = None


Target = str | tuple[str | None, str | None] | None
NOWHERE = Route()


class Routes:
    """Routes by class: the class itself, then its parents in their order, then what it is otherwise an instance of."""

    def __init__(self) -> None:
        self._routes: dict[type, Route] = {}
        self._found: dict[type, Route] = {}

    def __bool__(self) -> bool:
        return bool(self._routes)

    def add(self, job: type | Mapping[type, Target], queue: str | None = None, connection: str | None = None) -> None:
        """See `QueueManager.route`."""
        if isinstance(job, Mapping):
            if queue is not None or connection is not None:
                raise ConfigError("route() takes a dictionary alone: it says the queue of each class.")
            routes = {cls: _route(cls, target) for cls, target in job.items()}
        else:
            routes = {job: Route(connection, queue)}
        for cls in routes:
            _check(cls)
        self._routes = {**self._routes, **routes}
        self._found = {}

    def of(self, job: object) -> Route:
        """The route of a job."""
        # What is routed meanwhile begins with an empty dictionary, so that an old answer goes where nobody looks.
        known = self._found
        found = known.get(type(job))
        if found is None:
            found = known[type(job)] = self._find(job)
        return found

    def _find(self, job: object) -> Route:
        routes = self._routes
        for cls in type(job).__mro__:
            if cls in routes:
                return routes[cls]
        # Protocols, and abstract classes that it was registered with.
        return next((route for cls, route in routes.items() if isinstance(job, cls)), NOWHERE)


def _route(cls: object, target: Any) -> Route:
    if isinstance(target, str):
        return Route(queue=target)
    if isinstance(target, tuple | list) and len(target) == 2 and all(isinstance(each, str | None) for each in target):
        return Route(*target)
    raise ConfigError(f"route() takes a queue, or (connection, queue), for {cls!r}; {target!r} is neither.")


def _check(cls: object) -> None:
    if not isinstance(cls, type):
        raise ConfigError(f"route() takes a class of jobs; {cls!r} is none.")
    if getattr(cls, "_is_protocol", False) and not getattr(cls, "_is_runtime_protocol", False):
        raise ConfigError(
            f"route() can't tell which jobs have the shape {cls.__qualname__}: put @runtime_checkable above it."
        )
