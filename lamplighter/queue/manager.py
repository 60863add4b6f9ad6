"""The configured connections, each made once, when it is first used."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from lamplighter.contracts import Config, Queue
from lamplighter.errors import ConfigError, LamplighterError
from lamplighter.support.forking import watch

Factory = Callable[[str, Mapping[str, Any]], Queue]


class QueueManager:
    """Queue connections by name; `extend` adds a driver."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._factories: dict[str, Factory] = {}
        self._connections: dict[str, Queue] = {}
        self._lock = threading.RLock()
        watch(self, in_child=QueueManager._begin_as_child, locks=lambda manager: (manager._lock,))

    def extend(self, driver: str, factory: Factory) -> None:
        """Make connections of `driver` by `factory(name, options)`."""
        self._factories[driver] = factory

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
        return factory(name, options)
