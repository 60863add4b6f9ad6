"""`migrate`: runs the migrations that wait."""

from typing import Annotated

import typer

from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.database.commands.folder import FOLDER, tell
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.database.migrations.baseline import adopt


class MigrateCommand(Command):
    """Run the database migrations."""

    name = "migrate"
    description = "Run the database migrations"

    def __init__(self, app: Application, databases: DatabaseManager) -> None:
        self._app = app
        self._databases = databases

    def handle(
        self,
        database: Annotated[str | None, typer.Option("--database", help="The connection")] = None,
        baseline: Annotated[
            bool, typer.Option("--baseline", help="Adopt the tables of another application, such as the PHP one")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="Do not ask in production")] = False,
    ) -> int:
        """Apply what waits."""
        if not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        engine, folder = self._databases.engine(database), self._app.path(FOLDER)
        if baseline:
            tables = adopt(engine, folder, tell(self.output), warn=self.output.warn)
            self.output.info(f"Adopted: {', '.join(tables) or 'no table, there was none of ours'}.")
            return 0
        migrator = Migrator(engine, folder, warn=self.output.warn)
        if not migrator.pending():
            self.output.info("Nothing to migrate.")
            return 0
        self.output.info("Running migrations.")
        if not migrator.migrate(tell(self.output)):
            self.output.info("Another run has done it.")
        self.output.line()
        return 0
