"""A fault of the framework's own, where the worker settles a job that has raised."""

from typing import Any, NoReturn

from lamplighter.queue.worker.settling import Settling
from lamplighter.support.provider import ServiceProvider


class BreakingProvider(ServiceProvider):
    """Has the worker meet an error that nobody expects, each time a job has raised."""

    def register(self) -> None:
        """In place of what settles it."""
        Settling._after_error = _broken  # type: ignore[method-assign]


def _broken(*arguments: Any, **options: Any) -> NoReturn:
    raise RuntimeError("the framework's own")
