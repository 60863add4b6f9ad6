"""From config/queue.py to a failover connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application, Config, Events
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.failover.breaker import CircuitBreaker
from lamplighter.queue.drivers.failover.queue import FailoverQueue
from lamplighter.queue.manager import QueueManager, own_options
from lamplighter.support.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverOptions:
    """The keys of a connection with `driver: failover`.

    `break_for` is how many seconds a connection that did not answer is passed over.
    """

    driver: Literal["failover"]
    connections: tuple[str, ...]
    break_for: float = 10.0


def connect(app: Application, name: str, options: Mapping[str, Any]) -> FailoverQueue:
    """The connection of config/queue.py; those that it names are made with it, so that their mistakes show early.

    Dispatches wait for a commit where it or one of those says `after_commit`.

    Raises:
        ConfigError: it names a connection that is not there, or that comes back to itself.
    """
    configured = app.make(Config).mapping("queue.connections", {})
    _check(configured, name, ())
    settings = _parse(name, options)
    manager = app.make(QueueManager)
    queues = [manager.connection(each) for each in settings.connections]
    breakers = [CircuitBreaker(settings.break_for) for _ in queues]
    if not manager.after_commit.isdisjoint(settings.connections):
        manager.after_commit.add(name)  # which of them takes a job is known only when it is pushed
    return FailoverQueue(name, queues, app.make(Events), breakers)


def _parse(name: str, options: Mapping[str, Any]) -> FailoverOptions:
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(FailoverOptions, own_options(options), where=where)
    if not settings.connections:
        raise ConfigError(f"{where} names no connection under 'connections'; it needs one, and better two.")
    if len(set(settings.connections)) < len(settings.connections):
        raise ConfigError(f"{where} names a connection twice under 'connections'.")
    if settings.break_for < 0:
        raise ConfigError(f"{where} has a negative number of seconds for the key 'break_for'.")
    return settings


def _check(configured: Mapping[str, Any], name: str, above: tuple[str, ...]) -> None:
    """Follow the connections that a failover names, and those that these name."""
    if name in above:
        circle = " → ".join((*above[above.index(name) :], name))
        raise ConfigError(f"config/queue.py has failover connections in a circle: {circle}. Take one of them out.")
    options = configured.get(name)
    if not isinstance(options, Mapping):
        known = ", ".join(sorted(configured))
        raise ConfigError(
            f"config/queue.py (connections.{above[-1]}) names the connection {name!r}, which is not there; "
            f"there are {known}."
        )
    if options.get("driver") == "failover":
        for each in _parse(name, options).connections:
            _check(configured, each, (*above, name))
