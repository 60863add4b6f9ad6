"""The foundation's own commands."""

from lamplighter.support.provider import ServiceProvider


class FoundationServiceProvider(ServiceProvider):
    """Adds the commands that every application has."""

    def register(self) -> None:
        """Add the commands."""
        from lamplighter.foundation.commands import COMMANDS

        self.commands(*COMMANDS)
