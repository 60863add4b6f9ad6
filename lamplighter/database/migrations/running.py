"""One run of migrations: when it is kept, and what is told of one that fails."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from alembic.config import Config as AlembicConfig
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event

from lamplighter.database.migrations.character_set import tables_keep_any_text
from lamplighter.database.migrations.foreign_keys import ForeignKeys
from lamplighter.database.migrations.revisions import ENDS, Revision, reason
from lamplighter.errors import MigrationError
from lamplighter.support.unrun import refuse_unrun

Told = Callable[[str, float], object]  # of each migration, with its seconds
Warn = Callable[[str], object]

TRANSACTIONAL = frozenset({"sqlite", "postgresql"})  # what a transaction did to tables is undone with it
AGAIN = "it does not count as applied: undo that part by hand, or let it run twice, and run the command again."


class Run:
    """The migrations that run together, on one connection that has no transaction yet.

    Where the database undoes what a transaction did to tables, a run is one transaction, but for what an
    `autocommit_block()` ends; elsewhere each migration is one. With `is_whole` nothing may end it before its end, and
    the caller looks at what is `dangling()` then.
    """

    def __init__(self, connection: Connection, told: Told, *, is_whole: bool = False) -> None:
        self.connection = connection
        self._keys = ForeignKeys(connection) if connection.dialect.name == "sqlite" else None
        self._is_transactional = connection.dialect.name in TRANSACTIONAL
        self._is_whole = is_whole
        self._told = told
        self._context: Any = None
        self._step: Revision | None = None
        self._is_split = False  # whether the step has committed a part of what it does
        self._done: list[str] = []
        self._kept = 0  # so many of those that are done are committed
        event.listen(connection, "commit", self._on_commit)

    @contextmanager
    def environment(self, folder: Path) -> Iterator[None]:
        """Give the migrations what `alembic.op` and `alembic.context` stand for."""
        # Alembic reads no file of it, but a migration may ask for its folder.
        scripts = ScriptDirectory(str(Path(__file__).parent), version_locations=[str(folder)])
        with EnvironmentContext(AlembicConfig(), scripts) as environment:
            environment.configure(connection=self.connection, transactional_ddl=True)
            self._context = environment.get_context()
            with Operations.context(self._context), tables_keep_any_text(self.connection):
                yield

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The transaction of the run, where it is one."""
        with self._context.begin_transaction() if self._is_transactional else nullcontext():
            if self._keys is not None:
                self._keys.remember()
            yield

    def part(self) -> AbstractContextManager[Any]:
        """The transaction of a part of the run, where that is one."""
        if self._is_transactional:
            return nullcontext()
        transaction: AbstractContextManager[Any] = self._context.begin_transaction()
        return transaction

    def take(self, step: Revision, function: str, remember: Callable[[Revision], object]) -> None:
        """Run a function of a migration, and remember it.

        Raises:
            MigrationError: the function raised; the message says where, and what is left.
        """
        began = time.perf_counter()
        self._step, self._is_split = step, False
        with self._explained(step), self.part():
            refuse_unrun(getattr(step.module, function)(), f"{function}()", MigrationError)
            if not self._is_whole:
                self._check()
            remember(step)
            self._step = None
        self._done.append(step.name)
        if self._is_split and self._is_transactional:
            # A part of it can't be undone any more, so that it must stay applied when a later one fails: commit now.
            with self._context.autocommit_block():
                pass
        if self._is_split or not self._is_transactional:
            self._kept = len(self._done)
        self._told(step.name, time.perf_counter() - began)

    def dangling(self) -> str:
        """What refers to nothing since the run; empty where nothing does, or the database itself sees to it."""
        return self._keys.new() if self._keys is not None else ""

    def old_dangling(self) -> str:
        """What referred to nothing before the run, and does so still."""
        return self._keys.old() if self._keys is not None else ""

    def _check(self) -> None:
        if dangling := self.dangling():
            raise MigrationError(
                f"{dangling}. SQLite's foreign keys are off while migrations run, so that ON DELETE and ON UPDATE do "
                "nothing: change the rows of both tables."
            )

    def _on_commit(self, connection: Connection) -> None:
        if self._step is None or connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return
        # An autocommit_block is about to end the run's transaction.
        if self._is_whole:
            raise MigrationError(
                "its `autocommit_block()` commits, and a database is adopted as a whole or not at all. Move this file "
                "away, and those that come after it; adopt; put them back, and run `migrate`."
            )
        self._check()
        self._is_split, self._kept = True, len(self._done)

    @contextmanager
    def _explained(self, step: Revision) -> Iterator[None]:
        try:
            yield
        except ENDS as error:
            lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if _file(frame) == str(step.path)]
            where = f" in line {lines[-1]}" if lines else ""
            what = str(error).rstrip(".") if isinstance(error, MigrationError) else reason(error)
            raise MigrationError(f"The migration {step.path.name} has failed{where}: {what}. {self._left()}") from error

    def _left(self) -> str:
        """What is left of a run that has failed, and what to do."""
        kept = ", ".join(self._done[: self._kept])
        before = f"Before it, these were applied and kept: {kept}. " if kept else ""
        if self._is_split:
            return f"{before}What it did before its `autocommit_block()` is kept, but {AGAIN}"
        if not self._is_transactional:
            name = self.connection.dialect.name
            return f"{before}What it did until then is kept, since {name} does not undo changes of tables, but {AGAIN}"
        return f"{before}Nothing {'else ' if kept else ''}of this run was kept: mend it, and run the command again."


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename
