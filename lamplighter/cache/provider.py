"""The cache's part of the application."""

from lamplighter.cache.manager import CacheManager
from lamplighter.cache.repository import Cache
from lamplighter.contracts import Config
from lamplighter.support.provider import CommandEntry, ServiceProvider

COMMANDS = (
    CommandEntry(
        "cache:clear",
        "Delete what this application has cached",
        "lamplighter.cache.commands.clear:ClearCommand",
        is_destructive=True,
    ),
    CommandEntry(
        "cache:forget",
        "Delete one key of the cache",
        "lamplighter.cache.commands.forget:ForgetCommand",
        is_destructive=True,
    ),
)


class CacheServiceProvider(ServiceProvider):
    """Binds the stores; `Cache` is the default one."""

    def register(self) -> None:
        """Bind; no store is made before it is used."""
        self.app.singleton(CacheManager, lambda: CacheManager(self.app.make(Config), self.app.path))
        self.app.bind(Cache, lambda: self.app.make(CacheManager).store())
        self.commands(*COMMANDS)
