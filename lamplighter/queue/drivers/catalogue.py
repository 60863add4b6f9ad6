"""The drivers of config/queue.py, each imported when a connection of it is first used."""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from lamplighter.contracts import Application, Queue
from lamplighter.errors import ConfigError

Connect = Callable[[Application, str, Mapping[str, Any]], Queue]

ROOM = "lamplighter.queue.drivers"
DRIVERS = {
    "sync": f"{ROOM}.sync:connect",
    "null": f"{ROOM}.null:connect",
    "deferred": f"{ROOM}.deferred:connect",
    "background": f"{ROOM}.background.connecting:connect",
    "failover": f"{ROOM}.failover.connecting:connect",
    "memory": f"{ROOM}.memory:connect",
    "redis": f"{ROOM}.redis.store:connect",
    "database": f"{ROOM}.database.connecting:connect",
    "beanstalkd": f"{ROOM}.beanstalkd:connect",
    "sqs": f"{ROOM}.sqs:connect",
}
# What a driver needs beside the framework: the library's module, and the extra of the package that brings it.
EXTRAS: dict[str, tuple[str, str]] = {
    "redis": ("redis", "redis"),
    "beanstalkd": ("greenstalk", "beanstalkd"),
    "sqs": ("boto3", "sqs"),
}


def connector(driver: str) -> Callable[[Application, str, Mapping[str, Any]], Queue]:
    """What makes connections of a driver; its module is imported by the first call.

    Raises, when it is called:
        ConfigError: the library of the driver is not installed; the message says how to install it.
    """

    def connect(app: Application, name: str, options: Mapping[str, Any]) -> Queue:
        library, extra = EXTRAS.get(driver, ("", ""))
        if library and find_spec(library) is None:
            raise ConfigError(
                f"The connection {name!r} in config/queue.py has the driver {driver!r}, which needs {library}. "
                f"Install it: pip install 'lamplighter[{extra}]'"
            )
        module, _, function = DRIVERS[driver].partition(":")
        make: Connect = getattr(importlib.import_module(module), function)
        return make(app, name, options)

    return connect
