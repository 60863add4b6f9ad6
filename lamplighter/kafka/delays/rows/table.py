"""The table of jobs with a long delay."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from lamplighter.contracts import Databases, Message
from lamplighter.database.errors import is_timeout
from lamplighter.database.odd_values import AsStored, any_text, has_id, is_one_of, told
from lamplighter.database.rows import Rows, dump_headers, load_headers
from lamplighter.errors import QueueError
from lamplighter.kafka.delays.rows.delayed_job import DelayedJob, job_of
from lamplighter.queue.claims.claims import HEADER, reference_in
from lamplighter.queue.jobs.naming import id_and_name
from lamplighter.support.clock import ceil_ms, floor_ms

LEASE = 60.0  # seconds for which claimed rows are one mover's
NO_LEASE = 2 * LEASE  # seconds; none ends so far ahead, whatever the clocks of two hosts differ by
LAST = 2**63 - 1  # what a number of 64 bits can be; text, bytes and infinity are behind it in SQLite's order


class DelayedJobs:
    """The rows of one connection.

    Every method raises MigrationError while the table is not there, Unavailable while no database answers, and
    QueueError where another transaction keeps the table or its SQLite file locked.
    """

    def __init__(self, databases: Databases, *, connection: str, database: str | None, table: str) -> None:
        self._connection = connection
        self._table = _table(table)
        or_else = f", or set delay_store of the connection {connection!r} to kafka"
        self._rows = Rows(databases, database, self._table, kept="delayed jobs", or_else=or_else)

    def is_there(self) -> bool:
        """Whether there is such a table."""
        return self._rows.is_there()

    def put(self, message: Message, queue: str, due: float, *, timeout: float | None = None) -> str:
        """Keep a job until it is due; the row's id. Others' locks are waited for so many seconds."""
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
        with self._transaction(timeout) as connection:
            connection.execute(self._table.insert().values(row))
        return id

    def claim(self, now: float, *, most: int) -> tuple[str, list[DelayedJob]]:
        """Lease what is due, the earliest first; the lease, and the jobs that nobody else may move while it lasts."""
        lease, columns = uuid.uuid4().hex, self._table.c
        is_free = self._is_free(now)
        wanted = self._mine().where(columns.due_at <= floor_ms(now), is_free).order_by(columns.due_at).limit(most)
        if not self._rows.read(wanted.with_only_columns(columns.id)):
            return lease, []
        with self._transaction() as connection:
            # What another mover has leased since the look is not free any more: the update looks once more.
            ids = connection.execute(wanted.with_only_columns(columns.id)).scalars().all()
            leased = update(self._table).where(is_one_of(columns.id, ids), is_free)
            connection.execute(leased.values(lease=lease, leased_until=ceil_ms(now + LEASE)))
        found = self._rows.read(select(self._table).where(columns.lease == lease).order_by(columns.due_at))
        return lease, [job_of(row) for row in found]

    def forget(self, lease: str, keys: Sequence[Any]) -> int:
        """Delete what was moved under a lease; how many."""
        with self._transaction() as connection:
            query = delete(self._table).where(self._table.c.lease == lease, is_one_of(self._table.c.id, keys))
            return int(connection.execute(query).rowcount)

    def give_back(self, lease: str) -> None:
        """End a lease early: what is left of it may be claimed again."""
        with self._transaction() as connection:
            query = update(self._table).where(self._table.c.lease == lease)
            connection.execute(query.values(lease=None, leased_until=0))

    def set_aside(self, lease: str, keys: Sequence[Any]) -> None:
        """Let rows be cancelled that are leased but not produced; they still wait for the end of the lease."""
        with self._transaction() as connection:
            query = update(self._table).where(self._table.c.lease == lease, is_one_of(self._table.c.id, keys))
            connection.execute(query.values(lease=None))

    def next_due(self, now: float) -> float | None:
        """When the next job is due, or a lease is over; None where there is nothing to wait for."""
        columns = self._table.c
        free = self._mine().where(columns.due_at <= LAST, self._is_free(now))
        free = free.with_only_columns(func.min(columns.due_at).label("at"))
        leased = self._mine().where(columns.leased_until.between(floor_ms(now) + 1, ceil_ms(now + NO_LEASE)))
        leased = leased.with_only_columns(func.min(columns.leased_until).label("at"))
        times = [row["at"] for query in (free, leased) for row in self._rows.read(query) if row["at"] is not None]
        return min(times) / 1000 if times else None

    def all(self, *, most: int = 1000) -> list[DelayedJob]:
        """The jobs, as many as are asked for: those without a time, then the earliest first."""
        odd = self.without_time(most=most)
        query = self._mine().where(self._table.c.due_at <= LAST).order_by(self._table.c.due_at)
        return odd + [job_of(row) for row in self._rows.read(query.limit(most - len(odd)))]

    def without_time(self, *, most: int) -> list[DelayedJob]:
        """Rows whose due time is no number, which nobody would ever claim."""
        query = self._mine().where(self._table.c.due_at > LAST).limit(most)
        return [job_of(row) for row in self._rows.read(query)]

    def claims(self) -> set[str]:
        """The names of the payloads that are put aside for these jobs, and for those of other connections."""
        headers = self._table.c.headers
        searched = cast(headers, Text) if self._rows.is_sqlite else headers  # LIKE finds nothing in a BLOB
        rows = self._rows.read(select(headers).where(searched.contains(HEADER)))
        references = (reference_in(load_headers(_text(row["headers"]))) for row in rows)
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
        return {told(row["connection"]): row["jobs"] for row in found}

    def cancel(self, id: str, now: float, *, timeout: float | None = None) -> int:
        """Delete by the row's id or the job's; how many were deleted. What is on its way already stays."""
        columns = self._table.c
        query = delete(self._table).where(
            columns.connection == self._connection,
            or_(has_id(columns.id, [id], is_sqlite=self._rows.is_sqlite), columns.job_id == id),
            or_(self._is_free(now), columns.lease.is_(None)),
        )
        with self._transaction(timeout) as connection:
            return int(connection.execute(query).rowcount)

    def _is_free(self, now: float) -> Any:
        """Whether a row is nobody's: no mover's lease is of text, or ends in an hour."""
        column = self._table.c.leased_until
        return or_(column <= floor_ms(now), column > ceil_ms(now + NO_LEASE))

    def _mine(self) -> Any:
        return select(self._table).where(self._table.c.connection == self._connection)

    @contextmanager
    def _transaction(self, timeout: float | None = None) -> Iterator[Any]:
        began = time.monotonic()
        try:
            with self._rows.transaction(timeout=timeout) as connection:
                yield connection
        except DBAPIError as error:
            if not is_timeout(error):
                raise
            waited = f"{time.monotonic() - began:.1f} s"
            # Not its cause: a job would be run again for it without end, and lock out its own row each time.
            raise QueueError(
                f"Another transaction has kept the table {self._table.name} of the delayed jobs locked for {waited}. "
                "Nothing was changed. It may be of another process, or of the job itself: on SQLite, a job that has "
                "used its session must commit before it dispatches with a long delay. Or set delay_store of the "
                f"connection {self._connection!r} to kafka (KAFKA_DELAY_STORE)."
            ) from None


def _table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", AsStored(String(32)), primary_key=True),
        Column("job_id", AsStored(String(255))),
        Column("name", AsStored(String(255))),
        Column("connection", AsStored(String(255))),
        Column("queue", AsStored(String(255))),
        Column("payload", AsStored(LargeBinary())),
        Column("key", AsStored(LargeBinary())),
        Column("headers", AsStored(Text())),
        Column("due_at", AsStored(BigInteger())),
        Column("leased_until", AsStored(BigInteger())),
        Column("lease", AsStored(String(32))),
    )


def _text(headers: Any) -> str | None:
    return any_text(headers) if isinstance(headers, bytes) else headers
