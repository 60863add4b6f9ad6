"""`migrate:status`: shows which migrations have run."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Application
from lamplighter.database.commands.folder import FOLDER
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator


class StatusCommand(Command):
    """Show which migrations have run."""

    name = "migrate:status"
    description = "Show which migrations have run"

    def __init__(self, app: Application, databases: DatabaseManager) -> None:
        self._app = app
        self._databases = databases

    def handle(
        self,
        database: Annotated[str | None, typer.Option("--database", help="The connection")] = None,
        pending: Annotated[
            bool, typer.Option("--pending", help="Only those that wait; exit 1 if there are any")
        ] = False,
    ) -> int:
        """One line a migration, with the run that applied it."""
        found = Migrator(self._databases.engine(database), self._app.path(FOLDER)).status()
        for status in found:
            if status.is_applied and not pending:
                run = f"[{status.batch}] Ran" if status.batch is not None else "Ran"
                self.output.two_column(status.name, run, style="green")
            elif not status.is_applied:
                self.output.two_column(status.name, "Pending", style="yellow")
        if not found:
            self.output.info("No migrations found.")
        return int(pending and any(not status.is_applied for status in found))
