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
        table: Annotated[str | None, typer.Option("--table", help="The table that it changes")] = None,
    ) -> None:
        """Write the file."""
        migrator = Migrator(self._databases.engine(), self._app.path(FOLDER))
        path = migrator.make(migration, create=create, table=table)
        self.output.info(f"Migration [{path.relative_to(self._app.base_path)}] created successfully.")
