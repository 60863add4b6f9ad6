"""`make:migration`: writes a dated revision behind the newest."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Application
from lamplighter.database.commands.folder import FOLDER
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator


class MakeMigrationCommand(Command):
    """Create a migration."""

    name = "make:migration"
    description = "Create a migration"

    def __init__(self, app: Application, databases: DatabaseManager) -> None:
        self._app = app
        self._databases = databases

    def handle(
        self,
        migration: Annotated[str, typer.Argument(metavar="NAME", help="Such as create_letters_table")],
        create: Annotated[str | None, typer.Option("--create", help="The table that it makes")] = None,
    ) -> None:
        """Write the file."""
        path = Migrator(self._databases.engine(), self._app.path(FOLDER)).make(migration, create=create)
        self.output.info(f"Migration [{path.relative_to(self._app.base_path)}] created successfully.")
