"""The configured connections, each made once, when it is first used."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from lamplighter.contracts import Config, Queue
from lamplighter.errors import ConfigError, LamplighterError
from lamplighter.queue.dispatching.routes import Routes, Target
from lamplighter.queue.drivers.failover.names import names_of
from lamplighter.support.forking import watch

Factory = Callable[[str, Mapping[str, Any]], Queue]

# Keys that every connection may have, and that no driver is told of: what they mean is done above all drivers.
COMMON = frozenset({"after_commit"})


class QueueManager:
    """Queue connections by name; `extend` adds a driver.

    Attributes:
        routes: where jobs go whose class says nothing; see `route`.
        after_commit: the connections, of those that were made, whose dispatches wait for an open transaction.
    """

    def __init__(self, config: Config) -> None:
        self.routes = Routes()
        self.after_commit: set[str] = set()
        self._config = config
        self._factories: dict[str, Factory] = {}
        self._connections: dict[str, Queue] = {}
        self._lock = threading.RLock()
        watch(self, in_child=QueueManager._begin_as_child, locks=lambda manager: (manager._lock,))

    def extend(self, driver: str, factory: Factory) -> None:
        """Make connections of `driver` by `factory(name, options)`."""
        self._factories[driver] = factory

    def route(self, job: type | Mapping[type, Target], queue: str | None = None, connection: str | None = None) -> None:
        """Send the jobs of a class, of its subclasses, or of a protocol's shape to a queue, a connection, or both.

        What a dispatch names wins over it, and what the job's class names. Of several routes that of the nearest class
        counts, then those of protocols in the order in which they were added. A dictionary adds many: of each class
        the queue, or `(connection, queue)`, either of which may be None.

        Raises:
            ConfigError: this is no class, or a protocol without `@runtime_checkable`.
        """
        self.routes.add(job, queue, connection)

    @property
    def default(self) -> str:
        """The name of the default connection."""
        return self._config.string("queue.default")

    def connection(self, name: str | None = None) -> Queue:
        """A connection by name, the default without one.

        Raises:
            ConfigError: there is no such connection, or no driver for it.
        """
        name = name or self.default
        found = self._connections.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._connections:
                self._connections[name] = self._make(name)
            return self._connections[name]

    def able(self, what: str) -> list[str]:
        """The names of the connections in config/queue.py that can do `what`, a key of their `lacks`."""
        found = []
        for name in sorted(self._config.mapping("queue.connections", {})):
            with suppress(LamplighterError):  # one that can't be used, such as one without its library
                if what not in self.connection(name).lacks:
                    found.append(name)
        return found

    def names_of(self, name: str) -> tuple[str, ...]:
        """The names of all connections whose workers take the same jobs, its own first; see failovers."""
        return names_of(self._config.mapping("queue.connections", {}), name)

    def close(self, *, timeout: float) -> None:
        """Let go of every connection that was made."""
        with self._lock:
            for connection in self._connections.values():
                connection.close(timeout=timeout)
            self._connections.clear()

    def _begin_as_child(self) -> None:
        self._lock = threading.RLock()  # each connection begins anew by itself

    def _make(self, name: str) -> Queue:
        connections = self._config.mapping("queue.connections", {})
        options = connections.get(name)
        if not isinstance(options, dict):
            known = ", ".join(sorted(connections)) or "none"
            raise ConfigError(f"config/queue.py has no connection {name!r}; it has {known}.")
        driver = options.get("driver")
        factory = self._factories.get(str(driver))
        if factory is None:
            known = ", ".join(sorted(self._factories))
            raise ConfigError(
                f"The connection {name!r} in config/queue.py has the driver {driver!r}, which is not built here; "
                f"there are {known}."
            )
        if says_after_commit(name, options):
            self.after_commit.add(name)
        return factory(name, own_options(options))


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a connection that are its driver's own."""
    return {key: value for key, value in options.items() if key not in COMMON}


def says_after_commit(name: str, options: Mapping[str, Any]) -> bool:
    """What a connection says for `after_commit`; false where it says nothing.

    Raises:
        ConfigError: it is neither true nor false.
    """
    value = options.get("after_commit", False)
    if isinstance(value, bool):
        return value
    if value in ("", "0", "1"):  # as variables of the environment say it
        return bool(value == "1")
    given = "null" if value is None else f"a {type(value).__name__}"
    raise ConfigError(
        f"config/queue.py (connections.{name}) has {given} for the key 'after_commit', which takes True or False."
    )
