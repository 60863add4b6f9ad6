"""Runs alembic's revisions, and remembers which of them ran together."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic.config import Config as AlembicConfig
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
)

from lamplighter.database.sqlite import READ_ONLY
from lamplighter.errors import MigrationError

LOCK = 0x6C616D70  # PostgreSQL's advisory lock of a migration: "lamp"
BASELINE = 0  # the batch of an adopted database: it holds rows that we did not make, and no rollback drops them
BATCHES = Table(
    "migration_batches", MetaData(), Column("revision", String(64), primary_key=True), Column("batch", Integer)
)

TEMPLATE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down_revision}


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''

Told = Callable[[str, float], object]


@dataclass(frozen=True, slots=True)
class Status:
    """One revision; `batch` is the run that applied it, None while it waits."""

    name: str
    is_applied: bool
    batch: int | None


class Migrator:
    """The revisions of one folder, on one database. Each run is one transaction where the database can do that."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def pending(self) -> list[str]:
        """The names of the revisions that wait, in order."""
        return [status.name for status in self.status() if not status.is_applied]

    def status(self) -> list[Status]:
        """Every revision, the oldest first."""
        with _explained(), self._engine.connect().execution_options(**READ_ONLY) as connection:
            applied = self._applied(connection)
            batches = self._batches(connection)
            return [
                Status(_name(script), script.revision in applied, batches.get(script.revision))
                for script in self._all()
            ]

    def migrate(self, told: Told) -> int:
        """Apply what waits; how many that were. `told` is called with each name and its seconds."""
        with _explained(), self.alone() as connection:
            return self.migrate_on(connection, told)

    def migrate_on(self, connection: Connection, told: Told, *, batch: int | None = None) -> int:
        """The same, in a transaction of the caller's; `batch` is the next one where it is not given."""
        BATCHES.create(connection, checkfirst=True)
        if batch is None:
            batch = (connection.scalar(select(func.max(BATCHES.c.batch))) or BASELINE) + 1
        scripts = self._scripts()

        def steps(heads: Any, context: MigrationContext) -> Any:
            return scripts._upgrade_revs("heads", heads)

        def applied(revision: str) -> None:
            connection.execute(insert(BATCHES).values(revision=revision, batch=batch))

        return self._run(connection, scripts, steps, told, applied)

    def rollback(self, told: Told) -> int:
        """Undo what the last `migrate` did; how many revisions that were. What was adopted stays.

        Raises:
            MigrationError: a revision of that run is not in the folder, or one of another run stands on it.
        """
        with _explained(), self.alone() as connection:
            batches = self._batches(connection)
            last = max(batches.values(), default=BASELINE)
            if last == BASELINE:
                return 0
            wanted = {revision for revision, batch in batches.items() if batch == last}
            undone = [script for script in self._all() if script.revision in wanted]
            target = undone[0].down_revision or "base" if undone else "base"
            scripts = self._scripts()

            def steps(heads: Any, context: MigrationContext) -> Any:
                found = list(scripts._downgrade_revs(target, heads))
                others = {step.revision.revision for step in found} ^ wanted
                if others:
                    raise MigrationError(f"The last run can't be undone by itself, because of {', '.join(others)}.")
                return found

            def removed(revision: str) -> None:
                connection.execute(delete(BATCHES).where(BATCHES.c.revision == revision))

            return self._run(connection, scripts, steps, told, removed)

    def make(self, name: str, *, create: str | None = None, table: str | None = None) -> Path:
        """Write a revision behind the newest, dated now; `create` names a table that it makes, `table` one it changes.

        Without either the name may tell: `create_letters_table`, `add_colour_to_letters_table`.
        """
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        if not slug:
            raise MigrationError(f"A migration can't be named {name!r}: a name has letters and digits.")
        if create is None and table is None:
            create, table = _guessed_tables(slug)
        with _explained():
            heads = self._scripts().get_heads()
            revision = self._free_revision()
        path = self._folder / f"{revision}_{slug}.py"
        upgrade, downgrade = _bodies(create, table)
        path.write_text(
            TEMPLATE.format(
                title=slug.replace("_", " ").capitalize(),
                revision=revision,
                # More than one newest revision comes from merged branches; this one joins them.
                down_revision=json.dumps(heads if len(heads) > 1 else heads[0]) if heads else None,
                upgrade=upgrade,
                downgrade=downgrade,
            ),
            encoding="utf-8",
        )
        return path

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """One transaction, and no other migration beside it."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            yield connection

    def _free_revision(self) -> str:
        taken = {script.revision for script in self._all()}
        moment = datetime.now(UTC)
        while (revision := moment.strftime("%Y_%m_%d_%H%M%S")) in taken:
            moment += timedelta(seconds=1)
        return revision

    def _run(
        self, connection: Connection, scripts: ScriptDirectory, steps: Any, told: Told, done: Callable[[str], object]
    ) -> int:
        names = {script.revision: _name(script) for script in self._all()}
        count = 0
        began = time.perf_counter()

        def on_apply(**told_by_alembic: Any) -> None:
            nonlocal count, began
            revision = told_by_alembic["step"].up_revision_id
            done(revision)
            told(names[revision], time.perf_counter() - began)
            count, began = count + 1, time.perf_counter()

        told_of: Any = on_apply
        with EnvironmentContext(AlembicConfig(), scripts, fn=steps) as environment:
            environment.configure(connection=connection, on_version_apply=told_of, transactional_ddl=False)
            environment.run_migrations()
        return count

    def _scripts(self) -> ScriptDirectory:
        self._folder.mkdir(parents=True, exist_ok=True)
        return ScriptDirectory(str(self._folder), version_locations=[str(self._folder)])

    def _all(self) -> list[Any]:
        return list(reversed(list(self._scripts().walk_revisions())))

    def _applied(self, connection: Connection) -> set[str]:
        heads = MigrationContext.configure(connection).get_current_heads()
        scripts = self._scripts()
        return {script.revision for head in heads for script in scripts.iterate_revisions(head, "base")}

    def _batches(self, connection: Connection) -> dict[str, int]:
        if not inspect(connection).has_table(BATCHES.name):
            return {}
        return {row.revision: row.batch for row in connection.execute(select(BATCHES))}


def _name(script: Any) -> str:
    return Path(script.path).stem


def _guessed_tables(slug: str) -> tuple[str | None, str | None]:
    """The table that a migration of this name makes, and the one that it changes."""
    made = re.fullmatch(r"create_(\w+?)(_table)?", slug)
    changed = re.fullmatch(r"\w+_(?:to|from|in)_(\w+?)(_table)?", slug)
    return (made[1], None) if made else (None, changed[1] if changed else None)


def _bodies(create: str | None, table: str | None) -> tuple[str, str]:
    """What stands in `upgrade` and in `downgrade`."""
    if create is not None:
        columns = 'sa.Column("id", sa.String(36), primary_key=True)'
        return f'op.create_table("{create}", {columns})', f'op.drop_table("{create}")'
    if table is not None:
        # A batch, since SQLite can't change most of a table in place.
        change = f'with op.batch_alter_table("{table}") as table:\n        pass'
        return change, change
    return "pass", "pass"


@contextmanager
def _explained() -> Iterator[None]:
    """What alembic has to say, as an error of ours."""
    try:
        yield
    except (CommandError, RevisionError) as error:
        raise MigrationError(f"The revisions and the database do not fit together: {error}.") from error
