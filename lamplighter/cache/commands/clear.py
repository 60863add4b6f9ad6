"""`cache:clear`: deletes what this application has cached, and nothing of others."""

from typing import Annotated

import typer

from lamplighter.cache.manager import CacheManager
from lamplighter.console.command import Command


class ClearCommand(Command):
    """Delete what this application has cached."""

    name = "cache:clear"
    description = "Delete what this application has cached"

    def __init__(self, caches: CacheManager) -> None:
        self._caches = caches

    def handle(
        self, store: Annotated[str | None, typer.Argument(help="The store; the default without it")] = None
    ) -> None:
        """Flush the store."""
        self._caches.store(store).flush()
        self.output.info("Application cache cleared successfully.")
