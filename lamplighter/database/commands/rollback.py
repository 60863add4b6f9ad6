"""`migrate:rollback`: undoes what the last `migrate` did."""

from typing import Annotated

import typer

from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.database.commands.folder import FOLDER, tell
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator


class RollbackCommand(Command):
    """Undo what the last migrate did."""

    name = "migrate:rollback"
    description = "Undo what the last migrate did"

    def __init__(self, app: Application, databases: DatabaseManager) -> None:
        self._app = app
        self._databases = databases

    def handle(
        self,
        database: Annotated[str | None, typer.Option("--database", help="The connection")] = None,
        force: Annotated[bool, typer.Option("--force", help="Do not ask in production")] = False,
    ) -> int:
        """Undo the newest batch."""
        if not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        engine, folder = self._databases.engine(database), self._app.path(FOLDER)
        count = Migrator(engine, folder, warn=self.output.warn).rollback(tell(self.output))
        if not count:
            self.output.info("Nothing to rollback.")
        return 0
