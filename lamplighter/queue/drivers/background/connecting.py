"""From config/queue.py to a background connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application, Events, ExceptionHandler
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.background.queue import BackgroundQueue, Program
from lamplighter.queue.drivers.background.slots import Slots
from lamplighter.queue.drivers.deferred import Failures
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner
from lamplighter.support.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundOptions:
    """The keys of a connection with `driver: background`.

    `processes` is how many run on this host beside each other, and `wait` how many seconds a dispatch waits for one of
    them to end. `timeout` is seconds that a job may run where its class says nothing; 0 is without end. `output` is the
    file that gets what the processes print, read from the base path; none lets them write where their dispatcher does.
    """

    driver: Literal["background"]
    processes: int = 8
    wait: float = 5.0
    timeout: float = 60.0
    output: str | None = "storage/logs/background.log"


def connect(app: Application, name: str, options: Mapping[str, Any]) -> BackgroundQueue:
    """The connection of config/queue.py.

    Raises:
        ConfigError: a number is out of its bounds, or the project has no artisan.py to start.
    """
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(BackgroundOptions, options, where=where)
    if settings.processes < 1:
        raise ConfigError(f"{where} has {settings.processes} for the key 'processes', which takes 1 or more.")
    if settings.wait < 0 or settings.timeout < 0:
        raise ConfigError(f"{where} has a negative number of seconds for the key 'wait' or 'timeout'.")
    if not app.path("artisan.py").is_file():
        raise ConfigError(f"{where} starts processes of artisan.py, which is not in {app.base_path}.")
    program = Program(
        folder=app.base_path,
        output=app.path(settings.output) if settings.output else None,
        timeout=settings.timeout,
        wait=settings.wait,
    )
    slots = Slots(app.path("storage/framework/background", name), settings.processes)
    return BackgroundQueue(name, program, slots, lambda: _inline(app, settings.timeout))


def _inline(app: Application, timeout: float) -> Inline:
    runner = Runner(app.make(Registry), app, Policy(tries=1, backoff=(), timeout=timeout))
    failures = Failures(runner, lambda: app.make(FailedJobs), lambda: app.make(ExceptionHandler))
    return Inline(runner, app.make(Events), after_error=failures.keep)
