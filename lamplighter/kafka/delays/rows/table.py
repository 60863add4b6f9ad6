"""The table of jobs with a long delay."""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, Text, delete, func, or_, select, update
from sqlalchemy.exc import DBAPIError

from lamplighter.contracts import Databases, Message
from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.database.rows import Rows, dump_headers, load_headers
from lamplighter.errors import QueueError
from lamplighter.kafka.delays.rows.naming import id_and_name
from lamplighter.queue.claims.claims import HEADER, reference_in
from lamplighter.support.clock import ceil_ms, floor_ms

LEASE = 60.0  # seconds for which claimed rows are one mover's


@dataclass(frozen=True, slots=True)
class DelayedJob:
    """One row; `due` is seconds since 1970 by the brokers' clock, `job_id` what dispatch has returned."""

    id: str
    job_id: str
    name: str
    connection: str
    queue: str
    due: float
    message: Message


class DelayedJobs:
    """The rows of one connection.

    Every method raises MigrationError while the table is not there, Unavailable while no database answers, and
    QueueError where another transaction keeps an SQLite file locked.
    """

    def __init__(self, databases: Databases, *, connection: str, database: str | None, table: str) -> None:
        self._connection = connection
        self._table = _table(table)
        or_else = f", or set delay_store of the connection {connection!r} to kafka"
        self._rows = Rows(databases, database, self._table, kept="delayed jobs", or_else=or_else)

    def is_there(self) -> bool:
        """Whether there is such a table."""
        return self._rows.is_there()

    def put(self, message: Message, queue: str, due: float) -> str:
        """Keep a job until it is due; the row's id."""
        id = uuid.uuid4().hex
        job_id, name = id_and_name(message.payload)
        row = {
            "id": id,
            "job_id": job_id,
            "name": name,
            "connection": self._connection,
            "queue": queue,
            "payload": message.payload,
            "key": message.key,
            "headers": dump_headers(message.headers),
            "due_at": ceil_ms(due),
            "leased_until": 0,
        }
        with self._transaction() as connection:
            connection.execute(self._table.insert().values(row))
        return id

    def claim(self, now: float, *, most: int) -> tuple[str, list[DelayedJob]]:
        """Lease what is due, the earliest first; the lease, and the jobs that nobody else may move while it lasts."""
        lease, columns = uuid.uuid4().hex, self._table.c
        is_free = columns.leased_until <= floor_ms(now)
        wanted = self._mine().where(columns.due_at <= floor_ms(now), is_free).order_by(columns.due_at).limit(most)
        if not self._rows.read(wanted.with_only_columns(columns.id)):
            return lease, []
        with self._transaction() as connection:
            # What another mover has leased since the look is not free any more: the update looks once more.
            ids = connection.execute(wanted.with_only_columns(columns.id)).scalars().all()
            leased = update(self._table).where(columns.id.in_(ids), is_free)
            connection.execute(leased.values(lease=lease, leased_until=ceil_ms(now + LEASE)))
        found = self._rows.read(select(self._table).where(columns.lease == lease).order_by(columns.due_at))
        return lease, [_job(row) for row in found]

    def forget(self, lease: str, ids: Sequence[str]) -> int:
        """Delete what was moved under a lease; how many."""
        with self._transaction() as connection:
            query = delete(self._table).where(self._table.c.lease == lease, self._table.c.id.in_(ids))
            return int(connection.execute(query).rowcount)

    def give_back(self, lease: str) -> None:
        """End a lease early: what is left of it may be claimed again."""
        with self._transaction() as connection:
            query = update(self._table).where(self._table.c.lease == lease)
            connection.execute(query.values(lease=None, leased_until=0))

    def set_aside(self, lease: str, ids: Sequence[str]) -> None:
        """Let rows be cancelled that are leased but not produced; they still wait for the end of the lease."""
        with self._transaction() as connection:
            query = update(self._table).where(self._table.c.lease == lease, self._table.c.id.in_(ids))
            connection.execute(query.values(lease=None))

    def next_due(self, now: float) -> float | None:
        """When the next job is due, or a lease is over; None where there is nothing to wait for."""
        columns = self._table.c
        free = self._mine().where(columns.leased_until <= floor_ms(now))
        free = free.with_only_columns(func.min(columns.due_at).label("at"))
        leased = self._mine().where(columns.leased_until > floor_ms(now))
        leased = leased.with_only_columns(func.min(columns.leased_until).label("at"))
        times = [row["at"] for query in (free, leased) for row in self._rows.read(query) if row["at"] is not None]
        return min(times) / 1000 if times else None

    def all(self, *, most: int = 1000) -> list[DelayedJob]:
        """The jobs, the earliest first, as many as are asked for."""
        return [_job(row) for row in self._rows.read(self._mine().order_by(self._table.c.due_at).limit(most))]

    def claims(self) -> set[str]:
        """The names of the payloads that are put aside for these jobs, and for those of other connections."""
        headers = self._table.c.headers
        rows = self._rows.read(select(headers).where(headers.contains(HEADER)))
        references = (reference_in(load_headers(row["headers"])) for row in rows)
        return {reference.name for reference in references if reference is not None}

    def count(self, queue: str | None = None) -> int:
        """How many jobs there are, of one queue or of all."""
        query = self._mine().with_only_columns(func.count().label("jobs"))
        if queue is not None:
            query = query.where(self._table.c.queue == queue)
        return int(self._rows.read(query)[0]["jobs"])

    def others(self) -> dict[str, int]:
        """How many jobs other connections have in the table, by their names."""
        columns = self._table.c
        query = select(columns.connection, func.count().label("jobs")).group_by(columns.connection)
        found = self._rows.read(query.where(columns.connection != self._connection))
        return {row["connection"]: row["jobs"] for row in found}

    def cancel(self, id: str, now: float) -> int:
        """Delete by the row's id or the job's; how many were deleted. What is on its way already stays."""
        columns = self._table.c
        query = delete(self._table).where(
            columns.connection == self._connection,
            or_(columns.id == id, columns.job_id == id),
            or_(columns.leased_until <= floor_ms(now), columns.lease.is_(None)),
        )
        with self._transaction() as connection:
            return int(connection.execute(query).rowcount)

    def _mine(self) -> Any:
        return select(self._table).where(self._table.c.connection == self._connection)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            with self._rows.transaction() as connection:
                yield connection
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error) and SqlAlchemyErrors().is_deadlock(error):
                # Not its cause: a job would be run again for it without end, and lock out its own row each time.
                raise QueueError(
                    "The SQLite file that keeps the delayed jobs is locked. A job that has used its session must "
                    "commit before it dispatches with a long delay; or set delay_store of the connection "
                    f"{self._connection!r} to kafka (KAFKA_DELAY_STORE)."
                ) from None
            raise


def _table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", String(32), primary_key=True),
        Column("job_id", String(255)),
        Column("name", String(255)),
        Column("connection", String(255)),
        Column("queue", String(255)),
        Column("payload", LargeBinary),
        Column("key", LargeBinary),
        Column("headers", Text),
        Column("due_at", BigInteger),
        Column("leased_until", BigInteger),
        Column("lease", String(32)),
    )


def _job(row: Any) -> DelayedJob:
    return DelayedJob(
        id=row["id"],
        job_id=row["job_id"],
        name=row["name"],
        connection=row["connection"],
        queue=row["queue"],
        due=row["due_at"] / 1000,
        message=Message(row["payload"], row["key"], load_headers(row["headers"])),
    )
