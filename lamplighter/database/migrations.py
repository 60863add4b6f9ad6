"""Runs alembic's revisions, and remembers which of them ran together."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.config import Config as AlembicConfig
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
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

from lamplighter.errors import MigrationError

LOCK = 0x6C616D70  # PostgreSQL's advisory lock of a migration: "lamp"
BATCHES = Table(
    "migration_batches", MetaData(), Column("revision", String(64), primary_key=True), Column("batch", Integer)
)

TEMPLATE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down_revision!r}


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
        with self._engine.connect() as connection:
            applied = self._applied(connection)
            batches = self._batches(connection)
        return [
            Status(_name(script), script.revision in applied, batches.get(script.revision)) for script in self._all()
        ]

    def migrate(self, told: Told) -> int:
        """Apply what waits; how many that were. `told` is called with each name and its seconds."""
        with self._alone() as connection:
            return self.migrate_on(connection, told)

    def migrate_on(self, connection: Connection, told: Told) -> int:
        """The same, in a transaction of the caller's."""
        BATCHES.create(connection, checkfirst=True)
        batch = (connection.scalar(select(func.max(BATCHES.c.batch))) or 0) + 1
        scripts = self._scripts()

        def steps(heads: Any, context: MigrationContext) -> Any:
            return scripts._upgrade_revs("heads", heads)

        def applied(revision: str) -> None:
            connection.execute(insert(BATCHES).values(revision=revision, batch=batch))

        return self._run(connection, scripts, steps, told, applied)

    def rollback(self, told: Told) -> int:
        """Undo what the last `migrate` did; how many revisions that were."""
        with self._alone() as connection:
            batches = self._batches(connection)
            if not batches:
                return 0
            last = max(batches.values())
            undone = [script for script in self._all() if batches.get(script.revision) == last]
            target = undone[0].down_revision or "base"
            scripts = self._scripts()

            def steps(heads: Any, context: MigrationContext) -> Any:
                return scripts._downgrade_revs(target, heads)

            def removed(revision: str) -> None:
                connection.execute(delete(BATCHES).where(BATCHES.c.revision == revision))

            return self._run(connection, scripts, steps, told, removed)

    def make(self, name: str, *, create: str | None = None) -> Path:
        """Write an empty revision behind the newest, dated now; `create` names a table that it makes."""
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        if not slug:
            raise MigrationError(f"A migration can't be named {name!r}: a name has letters and digits.")
        revision = datetime.now(UTC).strftime("%Y_%m_%d_%H%M%S")
        table = create or _guessed_table(slug)
        heads = self._scripts().get_heads()
        path = self._folder / f"{revision}_{slug}.py"
        columns = 'sa.Column("id", sa.String(36), primary_key=True)'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            TEMPLATE.format(
                title=slug.replace("_", " ").capitalize(),
                revision=revision,
                down_revision=heads[0] if heads else None,
                upgrade=f'op.create_table("{table}", {columns})' if table else "pass",
                downgrade=f'op.drop_table("{table}")' if table else "pass",
            ),
            encoding="utf-8",
        )
        return path

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """One transaction, and no other migration beside it."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            yield connection

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


def _guessed_table(slug: str) -> str | None:
    match = re.fullmatch(r"create_(\w+?)(_table)?", slug)
    return match[1] if match else None
