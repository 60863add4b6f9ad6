"""The migrations of a folder, on one database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config as AlembicConfig
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select

from lamplighter.database.migrations.applied import Applied, create_tables
from lamplighter.database.migrations.making import make
from lamplighter.database.migrations.revisions import Revision, read
from lamplighter.database.sqlite import READ_ONLY
from lamplighter.errors import MigrationError

LOCK = 0x6C616D70  # PostgreSQL's advisory lock of a migration: "lamp"

Told = Callable[[str, float], object]


@dataclass(frozen=True, slots=True)
class Status:
    """One revision; `batch` is the run that applied it, None while it waits."""

    name: str
    is_applied: bool
    batch: int | None


class Migrator:
    """Applies, undoes, lists and makes migrations. Each run is one transaction where the database can do that.

    Each method raises MigrationError where the files do not fit together, or the database has had one that no file has.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def pending(self) -> list[str]:
        """The names of the migrations that wait, in order."""
        return [status.name for status in self.status() if not status.is_applied]

    def status(self) -> list[Status]:
        """Every migration, in the order in which they run."""
        revisions = read(self._folder)
        with self._engine.connect().execution_options(**READ_ONLY) as connection:
            applied = Applied(connection, revisions)
        return [Status(each.name, each in applied, applied.batches.get(each.id)) for each in revisions]

    def migrate(self, told: Told) -> int:
        """Apply what waits; how many that were. `told` is called with each name and its seconds."""
        revisions = read(self._folder)
        with self.alone() as connection:
            return self.migrate_on(connection, revisions, told)

    def migrate_on(
        self, connection: Connection, revisions: list[Revision], told: Told, *, batch: int | None = None
    ) -> int:
        """The same, in a transaction of the caller's; `batch` is the next one where it is not given."""
        create_tables(connection)
        applied = Applied(connection, revisions)
        steps = [revision for revision in revisions if revision not in applied]
        number = applied.next_batch if batch is None else batch
        with self._environment(connection):
            for step in steps:
                began = time.perf_counter()
                step.module.upgrade()
                applied.add(step, number)
                told(step.name, time.perf_counter() - began)
        return len(steps)

    def rollback(self, told: Told) -> int:
        """Undo what the last `migrate` did; how many revisions that were. What was adopted stays.

        Raises:
            MigrationError: a migration of that run is not in the folder, or one of another run comes after it.
        """
        revisions = read(self._folder)
        with self.alone() as connection, self._environment(connection):
            applied = Applied(connection, revisions)
            steps = _undone(applied, revisions)
            for step in steps:
                began = time.perf_counter()
                step.module.downgrade()
                applied.remove(step)
                told(step.name, time.perf_counter() - began)
            return len(steps)

    def make(self, name: str, *, create: str | None = None, table: str | None = None) -> Path:
        """Write a migration; see `making.make`."""
        return make(self._folder, name, create=create, table=table)

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """One transaction, and no other migration beside it."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            yield connection

    @contextmanager
    def _environment(self, connection: Connection) -> Iterator[None]:
        """Give the migrations what `alembic.op` and `alembic.context` stand for."""
        # Alembic reads no file of it, but a migration may ask for its folder.
        scripts = ScriptDirectory(str(Path(__file__).parent), version_locations=[str(self._folder)])
        with EnvironmentContext(AlembicConfig(), scripts) as environment:
            environment.configure(connection=connection, transactional_ddl=False)
            with Operations.context(environment.get_context()):
                yield


def _undone(applied: Applied, revisions: list[Revision]) -> list[Revision]:
    """The migrations of the last run, the newest first."""
    last = applied.last_batch()
    steps = [each for each in reversed(revisions) if each.id in last]
    missing = [id for id, revision in last.items() if revision is None]
    if missing:
        raise _unable(f"no file has the revision {', '.join(sorted(missing))} of it")
    if later := [each for each in revisions if each in applied and each.id not in last and last.keys() & each.parents]:
        raise _unable(f"{_names(later)} of another run comes after it")
    if lame := [each for each in steps if not callable(getattr(each.module, "downgrade", None))]:
        raise _unable(f"{_names(lame)} has no function `downgrade`")
    return steps


def _unable(why: str) -> MigrationError:
    return MigrationError(f"The last run can't be undone by itself: {why}. Nothing was changed.")


def _names(revisions: list[Revision]) -> str:
    return ", ".join(revision.path.name for revision in revisions)
