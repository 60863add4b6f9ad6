"""Jobs in a table: what takes, settles and pushes them."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from lamplighter.contracts import HeldJob, Message, Sizes
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.sqlite import READ_ONLY
from lamplighter.errors import ConfigError, QueueError, Unavailable
from lamplighter.queue.drivers.database.aside import Aside
from lamplighter.queue.drivers.database.calls import Calls
from lamplighter.queue.drivers.database.delayed import DelayedRows
from lamplighter.queue.drivers.database.dialects import rows_of
from lamplighter.queue.drivers.database.listening import Listener
from lamplighter.queue.drivers.database.own import OwnConnection
from lamplighter.queue.drivers.database.postgresql import PostgresqlRows
from lamplighter.queue.drivers.database.refusals import has_waited
from lamplighter.queue.drivers.database.reservation import Doubt, Key, Reservation, Started
from lamplighter.queue.drivers.database.rows import Rows
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease, Taken
from lamplighter.support.forking import watch

T = TypeVar("T")

log = logging.getLogger(__name__)

ANSWER = 30.0  # seconds that a server may take for an answer
AGAIN = 0.5  # seconds between two looks whether a row that somebody had locked is free
LEAST_WAIT = 0.05  # seconds until the next look where others are at the jobs that there are


class DatabaseStore:
    """A table with Laravel's columns, on a connection of config/database.py.

    A worker has a connection of its own to take jobs, and on servers another one to renew leases, on PostgreSQL one
    more to listen; what is pushed goes by those of the engine's pool.
    """

    look_every = 0.5
    keeps_headers = False
    lacks: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        databases: DatabaseManager,
        connection: str,
        *,
        database: str | None,
        table: str,
        seconds: float,
        joined: Callable[[Engine], Session | None] = lambda engine: None,
    ) -> None:
        """`joined` finds the session whose transaction a push belongs to.

        Raises:
            ConfigError: there is no such connection to a database, or it can't hold a queue.
        """
        self.seconds = seconds
        self._databases = databases
        self._connection = connection
        self._database = database
        self._table = table
        self._joined = joined
        engine = self._engine()
        kind = engine.dialect.name
        if kind == "sqlite" and engine.url.database in (None, "", ":memory:"):
            raise ConfigError(
                f"The connection {connection!r} in config/queue.py keeps its jobs in an SQLite database in memory, "
                f"of which each thread has another. Name a file, or take the driver `memory`, for tests."
            )
        self._is_file = kind == "sqlite"
        if kind == "postgresql":
            self.look_every = 1.0
        self._known_rows: Rows | None = None
        self._calls = Calls(self._engine, table=table, connection=connection, seconds=ANSWER)
        self._own = self._make_own()
        # A renewal waits for no start that hangs. Of a file there is one writer at a time anyway.
        self._renewing = self._own if self._is_file else self._make_own()
        self._listener: Listener | None = None
        self._begin_anew()
        watch(
            self,
            in_child=DatabaseStore._begin_as_child,
            locks=lambda store: (store._lock,) if store._is_file else (store._lock, store._renew_lock),
            before=DatabaseStore._before_fork,
        )

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._renew_lock = self._lock if self._is_file else threading.Lock()
        self._aside = Aside()
        self._tried_at = 0.0
        self._doubt: Doubt | None = None
        self._was_empty = False

    def _begin_as_child(self) -> None:
        self._begin_anew()
        self._known_rows = None  # these know the parent's connection
        for own in {self._own, self._renewing}:
            own.leave_to_parent()
        if self._listener is not None:
            self._listener.leave_to_parent()

    def _before_fork(self, until: float) -> None:
        # SQLite notes in the process's memory which locks of a file it holds, and a child would go by the parent's.
        if self._own.is_file and not self._own.is_used:
            self._own.drop()

    # the contract ──────────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Add rows: in the transaction of the caller where that is wanted, else in one of its own."""
        engine = self._engine()
        session = self._joined(engine)
        if session is not None:
            with self._calls.explained(None):
                rows, connection = self._rows(), session.connection()
                rows.push(connection, queue, messages, delay)
                if not delay:
                    rows.tell(connection, queue)
            return
        self._calls.repeated(lambda: self._push(queue, messages, delay))
        if engine.dialect.name == "postgresql" and not delay:
            self._tell(queue)

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """In one transaction. The end of a job whose row somebody keeps locked is told later."""
        names = tuple(queues) if most > 0 else ()
        if self._aside and time.monotonic() - self._tried_at > AGAIN and not self._renew_lock.locked():
            with suppress(QueueError):
                self._renew_all(())
        with self._lock:
            if self._listener is not None:
                self._listener.drain()
            ended = self._aside.others(ended)
            try:
                return self._calls.asked(lambda connection: self._take(connection, names, most, ended), self._own)
            except Unavailable as error:
                if not has_waited(error) or not self._put_aside(ended):
                    raise
            ended = self._aside.others(ended)
            return self._calls.asked(lambda connection: self._take(connection, names, most, ended), self._own)

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """By what nobody else who reserves the row leaves as it is."""
        if self._listener is not None:
            self._listener.drain()
        renewed, there = self._renew_all(leases)
        lost = [lease for lease in leases if lease.handle.key not in there]
        if not lost and any(lease.handle.key not in renewed for lease in leases):
            raise Unavailable(f"Another transaction keeps rows of the table {self._table} locked.")
        return lost

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """On PostgreSQL until a job of Python was pushed; elsewhere nothing tells."""
        with self._calls.explained(None):
            rows = self._rows()
            if not isinstance(rows, PostgresqlRows):
                return False
            if self._listener is None:
                self._listener = Listener(self._engine, rows.channel, self._calls.bounded.within)
            return self._listener.wait(queues, seconds)

    def sizes(self, queue: str) -> Sizes:
        """Counted by the database."""
        with self._read() as connection:
            return self._rows().sizes(connection, queue)

    def clear(self, queue: str) -> int:
        """Delete what there is, reserved or not, as Laravel does."""
        return self._written(lambda connection: self._rows().clear(connection, queue))

    def held(self, most: int) -> Sequence[HeldJob]:
        """Rows that are due later, of all queues."""
        with self._read() as connection:
            return DelayedRows(self._rows()).held(connection, most)

    def cancel(self, id: str) -> int:
        """Delete rows that are due later."""
        with self._read() as connection:
            delayed = DelayedRows(self._rows())
            ids = delayed.find(connection, id)
        return self._written(lambda connection: delayed.delete(connection, ids)) if ids else 0

    def close(self) -> None:
        """Let go of the worker's connections; what a lost answer has left to be found out is given back."""
        with self._lock:
            if self._doubt is not None:
                with suppress(QueueError):  # the lease runs out then
                    self._calls.asked(lambda connection: self._take(connection, (), 0, ()), self._own)
            self._own.drop()
        if self._aside:
            with suppress(QueueError):
                self._renew_all(())
            self._aside.give_up()
        with self._renew_lock:
            self._renewing.drop()
        if self._listener is not None:
            self._listener.close()

    # taking ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, connection: Any, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        rows = self._rows()
        doubt = self._doubt
        if doubt is not None:
            found = self._resolve(connection, doubt)
            if found:
                return self._give_out(connection, doubt, found, queues, most, ended)
            self._doubt = None
        if queues and not ended and self._was_empty:
            due = rows.peek(connection, queues)
            if due is None or due > 0:
                return Taken((), due)
        if not queues and not ended:
            return Taken(())
        started = self._commit(connection, queues, most, ended)
        if not queues:
            return Taken(())
        self._was_empty = not started
        if started:
            return Taken([one.lease() for one in started])
        due = rows.peek(connection, queues)
        return Taken((), None if due is None else max(LEAST_WAIT, due))

    def _commit(self, connection: Any, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> list[Started]:
        """Settle and start in one transaction. What it has reserved is known before the commit, which may be lost."""
        rows = self._rows()
        if queues and isinstance(rows, PostgresqlRows):
            with rows.taking(connection, queues, most, ended) as (started, number):
                self._doubt = Doubt(started, number) if started else None
        else:
            rows.begin(connection)
            rows.settle(connection, ended)
            started = rows.start(connection, queues, most)
            self._doubt = Doubt(started, 0) if started else None
            connection.commit()
        self._doubt = None
        return started

    def _resolve(self, connection: Any, doubt: Doubt) -> list[Started]:
        """What a commit has reserved whose answer was lost."""
        rows = self._rows()
        if isinstance(rows, PostgresqlRows):
            fate = rows.fate(connection, doubt.number)
            if fate is None:
                raise Unavailable("A transaction of the queue whose connection was lost has not come to its end yet.")
            if not fate:
                return []
        found = [one for one in doubt.started if rows.is_there(connection, one.lease().handle)]
        connection.commit()
        return found

    def _give_out(
        self,
        connection: Any,
        doubt: Doubt,
        found: Sequence[Started],
        queues: Sequence[str],
        most: int,
        ended: Sequence[Ended],
    ) -> Taken:
        """What has begun already; the rest goes back. The ends are told again, which changes nothing."""
        leases = [one.lease() for one in found if one.queue in queues][:most]
        kept = {lease.handle.id for lease in leases}
        back = [Ended(one.lease(), How.GIVEN_BACK) for one in found if one.id not in kept]
        if ended or back:
            try:
                self._commit(connection, (), 0, [*ended, *back])
            except BaseException:
                self._doubt = doubt
                raise
        self._doubt = None
        return Taken(leases)

    # renewing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _renew_all(self, leases: Sequence[Lease]) -> tuple[set[Key], set[Key]]:
        """Renew leases, and tell the ends that are put aside; what was renewed, and what is still ours."""
        self._tried_at = time.monotonic()
        with self._renew_lock:
            aside = self._aside.ends()
            handles = [lease.handle for lease in (*leases, *(end.lease for end in aside))]
            if not handles:
                return set(), set()
            renewed, there = self._calls.asked(lambda connection: self._renew(connection, handles), self._renewing)
            if aside:
                self._aside.keep(aside, there)
                free = [end for end in aside if end.lease.handle.key in renewed]
                if free:
                    self._calls.asked(lambda connection: self._settle(connection, free), self._renewing)
                    self._aside.told(free)
        return renewed, there

    def _renew(self, connection: Any, handles: Sequence[Reservation]) -> tuple[set[Key], set[Key]]:
        rows = self._rows()
        if not isinstance(rows, PostgresqlRows):
            rows.begin(connection)
        renewed = rows.renew(connection, handles)
        missing = [handle for handle in handles if handle.key not in renewed]
        locked = rows.there(connection, missing) if missing else set()
        connection.commit()
        return renewed, renewed | locked

    def _settle(self, connection: Any, ended: Sequence[Ended]) -> None:
        rows = self._rows()
        rows.begin(connection)
        rows.settle(connection, ended)
        connection.commit()

    def _put_aside(self, ended: Sequence[Ended]) -> bool:
        """Whether there are ends whose rows another transaction has locked."""
        if not ended or self._is_file:
            return False
        handles = [end.lease.handle for end in ended]
        free, there = self._calls.asked(lambda connection: self._look_at(connection, handles), self._own)
        locked = there - free
        self._aside.put([end for end in ended if end.lease.handle.key in locked])
        return bool(locked)

    def _look_at(self, connection: Any, handles: Sequence[Reservation]) -> tuple[set[Key], set[Key]]:
        rows = self._rows()
        rows.begin(connection)
        there = rows.there(connection, handles)
        free = rows.there(connection, handles, rows.locking)
        connection.commit()
        return free, there

    # pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        # A statement by itself is a transaction by itself, but on MySQL each begins one.
        is_one = len(messages) == 1 or not self._is_file
        rows = self._rows()
        opened = self._databases.statements(self._database).connection() if is_one else self._engine().begin()
        with opened as connection, self._calls.within(connection):
            rows.push(connection, queue, messages, delay)

    def _tell(self, queue: str) -> None:
        """Wake those who wait. The jobs are safe already: a worker that does not hear of them looks by itself."""
        try:
            with self._databases.statements(self._database).connection() as connection, self._calls.within(connection):
                self._rows().tell_by_itself(connection, queue)
        except SQLAlchemyError as error:
            log.debug("workers could not be told of a job", extra={"reason": str(getattr(error, "orig", error))})

    # parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _engine(self) -> Engine:
        return self._databases.engine(self._database)

    def _rows(self) -> Rows:
        if self._known_rows is None:
            self._known_rows = rows_of(self._engine(), self._table, self.seconds)
        return self._known_rows

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._calls.explained(None), self._engine().connect() as connection, self._calls.within(connection):
            yield connection.execution_options(**READ_ONLY if self._is_file else {})

    def _written(self, write: Callable[[Connection], int]) -> int:
        def once() -> int:
            with self._engine().begin() as connection, self._calls.within(connection):
                return write(connection)

        return self._calls.repeated(once)

    def _make_own(self) -> OwnConnection:
        def prepare(opened: Any, former: Any) -> Any:
            return self._rows().prepare(opened, former)

        return OwnConnection(self._engine, prepare, self._calls.bounded.within)
