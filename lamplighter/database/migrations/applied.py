"""Which migrations a database has had, as two tables of its own remember it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
)

from lamplighter.database.migrations.revisions import Revision, is_own
from lamplighter.errors import MigrationError

BASELINE = 0  # the batch of an adopted database: it holds rows that we did not make, and no rollback drops them

# What counts: each revision that was applied, with the run that did it.
BATCHES = Table(
    "migration_batches", MetaData(), Column("revision", String(64), primary_key=True), Column("batch", Integer)
)
# alembic's own: the applied revisions that no other applied one comes after. Its commands read it, and it shows that
# newer code has migrated the database.
VERSIONS = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


class Applied:
    """The revisions that a database has had, each with its batch; None for what alembic's own commands applied.

    Each revision counts by itself, so that one which comes with an upgrade still waits, however old it is.

    Raises:
        MigrationError: the database has had a migration whose file is not in the folder.
    """

    def __init__(self, connection: Connection, revisions: Sequence[Revision]) -> None:
        self._connection = connection
        self._known = {revision.id: revision for revision in revisions}
        self.batches: dict[str, int | None] = dict(_rows(connection, BATCHES))
        heads = {id for (id,) in _rows(connection, VERSIONS)}
        self._check(heads)
        for head in heads - self.batches.keys():
            for id in self._line(head):
                self.batches.setdefault(id, None)

    def __contains__(self, revision: Revision) -> bool:
        return revision.id in self.batches

    @property
    def next_batch(self) -> int:
        """The number of a new run."""
        return max((batch for batch in self.batches.values() if batch is not None), default=BASELINE) + 1

    def last_batch(self) -> Mapping[str, Revision | None]:
        """The revisions of the newest run that can be undone, and their files, but for those of the framework's own
        that the project has removed; empty where there is no such run."""
        newest: dict[int, dict[str, Revision | None]] = {}
        for id, batch in self.batches.items():
            if batch and (id in self._known or not is_own(id)):
                newest.setdefault(batch, {})[id] = self._known.get(id)
        return newest[max(newest)] if newest else {}

    def add(self, revision: Revision, batch: int) -> None:
        """Remember one that was applied."""
        self._connection.execute(insert(BATCHES).values(revision=revision.id, batch=batch))
        self.batches[revision.id] = batch
        self._write_heads()

    def remove(self, revision: Revision) -> None:
        """Forget one that was undone."""
        self._connection.execute(delete(BATCHES).where(BATCHES.c.revision == revision.id))
        del self.batches[revision.id]
        self._write_heads()

    def _check(self, heads: set[str]) -> None:
        ahead = sorted(head for head in heads if head not in self._known and not is_own(head))
        if ahead:
            raise MigrationError(
                f"The migrations and the database do not fit together: it has had {', '.join(ahead)}, "
                "and no file has this revision. Deploy the code that the file came with, or put the file back."
            )

    def _line(self, head: str) -> set[str]:
        """A revision, and all that it comes after."""
        found: set[str] = set()
        waiting = [head]
        while waiting:
            id = waiting.pop()
            if id not in found:
                found.add(id)
                waiting += self._known[id].parents if id in self._known else ()
        return found

    def _write_heads(self) -> None:
        applied = [revision for id, revision in self._known.items() if id in self.batches]
        heads = {revision.id for revision in applied} - {id for revision in applied for id in revision.parents}
        self._connection.execute(delete(VERSIONS))
        if heads:
            self._connection.execute(insert(VERSIONS), [{"version_num": id} for id in sorted(heads)])


def create_tables(connection: Connection) -> None:
    """Make the two tables where they are not there."""
    for table in (BATCHES, VERSIONS):
        table.create(connection, checkfirst=True)


def _rows(connection: Connection, table: Table) -> list[Any]:
    if not inspect(connection).has_table(table.name):
        return []
    return [tuple(row) for row in connection.execute(select(table))]
