"""The migrations of a folder, on one database."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.database.migrations.alone import alone
from lamplighter.database.migrations.applied import Applied, create_tables
from lamplighter.database.migrations.making import make
from lamplighter.database.migrations.revisions import Revision, read, reason
from lamplighter.database.migrations.running import Run, Told, Warn
from lamplighter.database.sqlite import READ_ONLY
from lamplighter.errors import MigrationError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """One revision; `batch` is the run that applied it, None while it waits."""

    name: str
    is_applied: bool
    batch: int | None


class Migrator:
    """Applies, undoes, lists and makes migrations.

    Each method raises MigrationError where the files do not fit together, where the database has had one that no file
    has, and where it refuses or does not answer.
    """

    def __init__(self, engine: Engine, folder: Path, *, warn: Warn = log.warning) -> None:
        """`warn` is told of what somebody should look at."""
        self._engine = engine
        self._folder = folder
        self._warn = warn

    def pending(self) -> list[str]:
        """The names of the migrations that wait, in order."""
        return [status.name for status in self.status() if not status.is_applied]

    def status(self) -> list[Status]:
        """Every migration, in the order in which they run."""
        revisions = read(self._folder)
        with _explained(), self._engine.connect().execution_options(**READ_ONLY) as connection:
            applied = Applied(connection, revisions)
        return [Status(each.name, each in applied, applied.batches.get(each.id)) for each in revisions]

    def migrate(self, told: Told) -> int:
        """Apply what waits; how many that were. `told` is called with each name and its seconds.

        Raises:
            MigrationError: a migration failed; the message says what is left of the run.
        """
        revisions = read(self._folder)
        with self.run(told) as run, run.whole():
            return self.apply(run, revisions)

    def apply(self, run: Run, revisions: list[Revision], *, batch: int | None = None) -> int:
        """The same, in a run of the caller's; `batch` is the next one where it is not given."""
        with run.part():
            create_tables(run.connection)
            applied = Applied(run.connection, revisions)
        steps = [revision for revision in revisions if revision not in applied]
        number = applied.next_batch if batch is None else batch
        for step in steps:
            run.take(step, "upgrade", partial(applied.add, batch=number))
        return len(steps)

    def rollback(self, told: Told) -> int:
        """Undo what the last `migrate` did; how many revisions that were. What was adopted stays.

        Raises:
            MigrationError: a migration of that run is not in the folder, or one of another run comes after it.
        """
        revisions = read(self._folder)
        with self.run(told) as run, run.whole():
            with run.part():
                applied = Applied(run.connection, revisions)
            steps = _undone(applied, revisions)
            for step in steps:
                run.take(step, "downgrade", applied.remove)
            return len(steps)

    def make(self, name: str, *, create: str | None = None, table: str | None = None) -> Path:
        """Write a migration; see `making.make`."""
        return make(self._folder, name, create=create, table=table)

    @contextmanager
    def run(self, told: Told, *, is_whole: bool = False) -> Iterator[Run]:
        """A run, and no other beside it."""
        with _explained(), alone(self._engine, self._warn), _connected(self._engine) as connection:
            run = Run(connection, told, is_whole=is_whole)
            with run.environment(self._folder):
                yield run
            if old := run.old_dangling():
                self._warn(f"{old}. It was so before this run, which has left it as it is.")


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


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        try:
            yield connection
        except BaseException:
            # A transaction whose COMMIT was refused has ended for SQLAlchemy, which would give it to the pool as it is.
            if not connection.invalidated:
                with suppress(engine.dialect.loaded_dbapi.Error):
                    connection.connection.rollback()
            raise


@contextmanager
def _explained() -> Iterator[None]:
    """What the database has to say, as an error of ours."""
    try:
        yield
    except DBAPIError as error:
        kinds = SqlAlchemyErrors()
        if kinds.is_lost_connection(error):
            text = f"The database does not answer: {reason(error)}. Its settings are in config/database.py."
        elif kinds.is_deadlock(error):
            text = f"Others hold the database: {reason(error)}. End what writes to it, or try again."
        else:
            text = f"The database has refused it: {reason(error)}. `migrate:status` shows what it has had."
        raise MigrationError(text) from error
