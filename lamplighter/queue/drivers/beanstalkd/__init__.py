"""Tubes of beanstalkd as queues, shared with PHP workers; attempts are counted as Laravel counts them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.beanstalkd.connection import MOST, Address
from lamplighter.queue.drivers.beanstalkd.store import BeanstalkdStore
from lamplighter.queue.drivers.leasing.claims import ClaimOptions, make_claims
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import RETRY_AFTER
from lamplighter.support.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class BeanstalkdOptions(ClaimOptions):
    """The keys of a connection with `driver: beanstalkd`: Laravel's, and `priority`.

    Attributes:
        retry_after: the time to run (TTR) of the jobs that are pushed here, in whole seconds; renewed while they run.
        block_for: seconds that an idle worker waits at the server for a job; 0 or null looks twice a second instead.
        timeout: seconds until a server that does not answer is away.
        priority: of the jobs that are pushed here; the smaller number runs first.
    """

    driver: Literal["beanstalkd"]
    host: str = "localhost"
    port: int = 11300
    queue: str = "default"
    retry_after: int = RETRY_AFTER
    block_for: int | None = 0
    timeout: float = 10.0
    priority: int = 1024


def connect(app: Application, name: str, options: Mapping[str, Any]) -> LeasingQueue:
    """The connection of config/queue.py."""
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(BeanstalkdOptions, options, where=where)
    _look_at(settings, where)
    store = BeanstalkdStore(
        Address(settings.host, settings.port, settings.timeout),
        ttr=settings.retry_after,
        block_for=settings.block_for or 0,
        priority=settings.priority,
    )
    claims = make_claims(settings, where=where)
    return LeasingQueue(name, store, default_queue=settings.queue, claims=claims)


def _look_at(settings: BeanstalkdOptions, where: str) -> None:
    bounds = {
        "port": (settings.port, 1, 65535),
        "retry_after": (settings.retry_after, 1, MOST),
        "block_for": (settings.block_for or 0, 0, MOST),
        "timeout": (settings.timeout, 0.1, 3600),
        "priority": (settings.priority, 0, MOST),
    }
    for key, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise ConfigError(f"{where} has {value} for the key {key!r}, which takes {least} to {most}.")
