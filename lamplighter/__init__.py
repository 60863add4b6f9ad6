"""Laravel's way of building services, in idiomatic Python, with a job queue on Apache Kafka at its heart.

What applications use most is here by name; each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamplighter.console.command import Command
    from lamplighter.contracts import Delivery
    from lamplighter.foundation.application import Application
    from lamplighter.foundation.shortcuts import app, dispatch
    from lamplighter.queue.dispatching.deferring import deferring
    from lamplighter.queue.dispatching.dispatcher import Dispatcher
    from lamplighter.queue.jobs.job import Job
    from lamplighter.queue.jobs.registry import Registry
    from lamplighter.support.env import env
    from lamplighter.support.provider import CommandEntry, ServiceProvider
    from lamplighter.support.strings import slug

__version__ = "0.1.0"
__all__ = [
    "Application",
    "Command",
    "CommandEntry",
    "Delivery",
    "Dispatcher",
    "Job",
    "Registry",
    "ServiceProvider",
    "app",
    "deferring",
    "dispatch",
    "env",
    "slug",
]

_HOMES = {
    "Application": "foundation.application",
    "Command": "console.command",
    "CommandEntry": "support.provider",
    "Delivery": "contracts",
    "Dispatcher": "queue.dispatching.dispatcher",
    "Job": "queue.jobs.job",
    "Registry": "queue.jobs.registry",
    "ServiceProvider": "support.provider",
    "app": "foundation.shortcuts",
    "deferring": "queue.dispatching.deferring",
    "dispatch": "foundation.shortcuts",
    "env": "support.env",
    "slug": "support.strings",
}


def __getattr__(name: str) -> Any:
    """A public name that was not used before (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lamplighter' has no attribute {name!r}")
    return getattr(import_module(f"lamplighter.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
