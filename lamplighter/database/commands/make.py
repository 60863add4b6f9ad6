"""`make:migration`: writes a migration that comes after the newest."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Application
from lamplighter.database.commands.folder import FOLDER
from lamplighter.database.migrations.making import make


class MakeMigrationCommand(Command):
    """Create a migration."""

    name = "make:migration"
    description = "Create a migration"

    def __init__(self, app: Application) -> None:
        self._app = app

    def handle(
        self,
        migration: Annotated[str, typer.Argument(metavar="NAME", help="Such as create_letters_table")],
        create: Annotated[str | None, typer.Option("--create", help="The table that it makes")] = None,
        table: Annotated[str | None, typer.Option("--table", help="The table that it changes")] = None,
    ) -> None:
        """Write the file."""
        path = make(self._app.path(FOLDER), migration, create=create, table=table)
        self.output.info(f"Migration [{path.relative_to(self._app.base_path)}] created successfully.")
