"""`cache:forget`: deletes one key."""

from typing import Annotated

import typer

from lamplighter.cache.manager import CacheManager
from lamplighter.console.command import Command


class ForgetCommand(Command):
    """Delete one key of the cache."""

    name = "cache:forget"
    description = "Delete one key of the cache"

    def __init__(self, caches: CacheManager) -> None:
        self._caches = caches

    def handle(
        self,
        key: Annotated[str, typer.Argument(help="The key")],
        store: Annotated[str | None, typer.Argument(help="The store; the default without it")] = None,
    ) -> None:
        """Forget the key, whether it was there or not."""
        self._caches.store(store).forget(key)
        self.output.info(f"The [{key}] key has been removed from the cache.")
