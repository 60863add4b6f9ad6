"""`datastore:show`: shows what is stored."""

from typing import Annotated

import typer
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.Services.tables import TABLES, known_types
from lamplighter import Command
from lamplighter.database.sqlite import READ_ONLY
from lamplighter.errors import ConsoleError

WIDTH = 40  # characters of a value that are shown
MOST = 1_000_000  # rows


class DatastoreShowCommand(Command):
    """Show what is stored."""

    name = "datastore:show"
    description = "Show what is stored"

    def __init__(self, session: Session) -> None:
        self._session = session

    def handle(
        self,
        name: Annotated[str | None, typer.Argument(metavar="TYPE", help="Show the rows of this type")] = None,
        limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many rows")] = 20,
    ) -> None:
        """The number of rows of each table, or the rows of one."""
        # Whoever pages through the output must not keep the workers from writing.
        self._session.connection(execution_options=READ_ONLY)
        if name is None:
            rows = [(kind, self._session.scalar(select(func.count()).select_from(t))) for kind, t in TABLES.items()]
            self.output.table(["type", "rows"], rows)
            return
        table = TABLES.get(name)
        if table is None:
            raise ConsoleError(f"There is no type {name!r}; there are {known_types()}.")
        found = self._session.execute(select(table).order_by(*table.primary_key.columns).limit(limit)).all()
        self.output.table(
            [column.name for column in table.columns], [[_short(value) for value in row] for row in found]
        )


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    shown = text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
    # A line break would tear the frame, and a terminal obeys what other services have put into a row.
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in shown)
