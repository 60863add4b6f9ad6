"""`make:queue-table`, also `queue:table`: writes a migration for the table of jobs."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Application, Config
from lamplighter.database.commands.folder import FOLDER
from lamplighter.database.migrations.revisions import read
from lamplighter.errors import ConsoleError
from lamplighter.queue.drivers.database.migration import text
from lamplighter.support.files import write_new


class MakeTableCommand(Command):
    """Create a migration for the table of jobs."""

    name = "make:queue-table"
    description = "Create a migration for the table of jobs"

    def __init__(self, app: Application, config: Config) -> None:
        self._app = app
        self._config = config

    def handle(
        self,
        connection: Annotated[str, typer.Argument(help="The queue connection that has the table")] = "database",
    ) -> None:
        """Write the file, unless there is a migration of this table."""
        connections = self._config.mapping("queue.connections", {})
        tables = {
            name: str(options.get("table") or "jobs")
            for name, options in connections.items()
            if isinstance(options, dict) and options.get("driver") == "database"
        }
        if connection not in tables:
            known = ", ".join(sorted(tables)) or "none"
            raise ConsoleError(
                f"config/queue.py has no connection {connection!r} with the driver `database`; it has {known}."
            )
        table = tables[connection]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,40}", table):
            raise ConsoleError(
                f"A migration can't be written for the table {table!r}; name it in letters, digits and _."
            )
        folder = self._app.path(FOLDER)
        if any(revision.id == f"lamplighter_{table}" for revision in read(folder)):
            raise ConsoleError(f"There is a migration of the table {table} already; run `migrate`.")
        path = folder / f"{datetime.now(UTC):%Y_%m_%d_%H%M%S}_create_{table}_table.py"
        folder.mkdir(parents=True, exist_ok=True)
        write_new(path, text(table))
        self.output.info(f"Migration [{path.relative_to(self._app.base_path)}] created successfully.")
