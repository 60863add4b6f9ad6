"""Failed jobs in a table with Laravel's columns."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    delete,
    insert,
    or_,
    select,
)
from sqlalchemy.exc import IntegrityError

from lamplighter.contracts import Databases
from lamplighter.database.odd_values import AsStored, has_id
from lamplighter.database.rows import Rows, dump_headers
from lamplighter.queue.failed import CHUNK, EVERY, PAGE, FailedJob, FailedJobs, FailedRecord, Failure, Wanted, parts
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.naming import chosen_id
from lamplighter.queue.failed.row import message_of, payload_of, record_of
from lamplighter.queue.failed.text import as_text
from lamplighter.queue.failed.trace import format_trace

A_NUMBER = re.compile(r"[0-9]{1,18}")  # what a column of 64 bits holds
TRIES = 20  # of a record whose id others take at the same moment; each time one of them is done


class RowVersion(NamedTuple):
    """What tells a row from a later one.

    SQLite gives the number of a deleted row once more, and the time has whole seconds in MySQL: it takes all of them.
    """

    number: int
    uuid: Any  # these as they are stored
    origin: Any
    failed_at: Any


class DatabaseFailedJobs(FailedJobs):
    """One row a job, written in a transaction of its own: the job's may be the one that failed.

    The ids are the rows' uuids; with `has_numbers` their numbers, as those of Laravel's driver `database`.
    Every method raises MigrationError while the table is not there, and Unavailable while no database answers.
    """

    def __init__(self, databases: Databases, *, database: str | None, table: str, has_numbers: bool = False) -> None:
        self.has_numbers = has_numbers
        self._table = _table(table)
        self._rows = Rows(databases, database, self._table, kept="failed jobs")

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same message; its id."""
        text, is_clean = as_text(failure.payload)
        row = {
            "connection": failure.connection,
            "queue": failure.queue,
            "payload": text,
            "exception": format_trace(failure.error),
            "failed_at": datetime.now(UTC).replace(tzinfo=None),
            "key": failure.key,
            "headers": dump_headers(failure.headers),
            "origin": failure.origin,
            "payload_bytes": None if is_clean else failure.payload,
        }
        tries = 0
        while True:
            try:
                with self._rows.transaction() as transaction:
                    return self._put(transaction, row, failure)
            except IntegrityError:  # another worker has taken the id since we looked: look again
                tries += 1
                if tries == TRIES:
                    raise

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """The records, the newest first, or those with these ids, in this order; read some hundreds at a time."""
        return self._pages(wanted) if ids is None else self._named(ids)

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, in their order, read a page at a time; rows that are new or gone are left out."""
        for page in parts(records, PAGE):
            numbers = [record.version.number for record in page]
            rows = {row["id"]: row for row in self._rows.read(select(self._table).where(self._table.c.id.in_(numbers)))}
            for record in page:
                row = rows.get(record.version.number)
                if row is not None and _version(row) == record.version:
                    yield self._job(row)

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Delete these records where they are there as they were read; how many."""
        return sum(self._forget(part) for part in parts(records, CHUNK))

    def _pages(self, wanted: Wanted) -> Iterator[FailedRecord]:
        """Page by page, each below the last row of the page before: what has come meanwhile stands above the first."""
        columns = self._table.c
        query = self._brief().order_by(columns.id.desc()).limit(CHUNK)
        if wanted.queue is not None:
            query = query.where(columns.queue == wanted.queue)
        if wanted.until is not None:
            query = query.where(columns.failed_at <= wanted.until.astimezone(UTC).replace(tzinfo=None))
        if wanted.numbers is not None and self.has_numbers:
            query = query.where(or_(*(columns.id.between(*numbers) for numbers in wanted.numbers)))
        page = self._rows.read(query)
        while page:
            for row in page:
                # Some databases find a queue in other letters, too.
                if wanted.has(record := self._record(row)):
                    yield record
            if len(page) < CHUNK:
                return
            page = self._rows.read(query.where(columns.id < page[-1]["id"]))

    def _named(self, ids: Sequence[str]) -> Iterator[FailedRecord]:
        for part in parts(list(dict.fromkeys(ids)), CHUNK):
            found = self._with_ids(part)
            yield from {found[id].version: found[id] for id in part if id in found}.values()

    def _with_ids(self, ids: Sequence[str]) -> dict[Any, FailedRecord]:
        """Records by their ids, and by what is stored as such."""
        columns = self._table.c
        clause = has_id(columns.uuid, ids, is_sqlite=self._rows.is_sqlite)
        if self.has_numbers:
            clause = columns.id.in_([int(id) for id in ids if A_NUMBER.fullmatch(id)])
        found: dict[Any, FailedRecord] = {}
        for row in self._rows.read(self._brief().where(clause)):
            record = self._record(row)
            found |= {record.id: record} if self.has_numbers else {row["uuid"]: record, record.id: record}
        return found

    def _brief(self) -> Select[Any]:
        """A row without its message."""
        columns = self._table.c
        return select(columns.id, columns.uuid, columns.connection, columns.queue, columns.origin, columns.failed_at)

    def _forget(self, records: Sequence[FailedRecord]) -> int:
        columns = self._table.c
        read = {record.version.number: record.version for record in records}
        rows = self._brief().where(columns.id.in_([*read])).order_by(columns.id)
        with self._rows.transaction() as connection:
            # Compared here and not by the database: PHP writes its times into SQLite in a form of its own.
            kept = connection.execute(rows.with_for_update()).mappings().all()
            numbers = [row["id"] for row in kept if _version(row) == read[row["id"]]]
            if not numbers:
                return 0
            return int(connection.execute(delete(self._table).where(columns.id.in_(numbers))).rowcount)

    def _put(self, connection: Connection, row: dict[str, Any], failure: Failure) -> str:
        """Write a row under the id that this message has already, else under the first that is free."""
        own = failure.identity
        names = [chosen_id(failure.uuid, own), own]
        columns = self._table.c
        query = select(
            columns.id,
            columns.uuid,
            columns.connection,
            columns.queue,
            columns.origin,
            columns.key,
            columns.payload,
            columns.payload_bytes,
        ).where(columns.uuid.in_(names))
        kept = connection.execute(query).mappings().all()
        older = next((each for each in kept if _is_of(each, failure)), None)
        if older is not None:
            # A new row instead of a new content: whoever has read the older one deletes the older one.
            connection.execute(delete(self._table).where(columns.id == older["id"]))
            uuid = str(older["uuid"])
        else:
            # A sender that repeats a uuid must not cost us a job. Some databases find the uuid in other letters, too.
            taken = {each["uuid"].lower() for each in kept}
            uuid = next((name for name in names if name.lower() not in taken), str(uuid4()))
        written = connection.execute(insert(self._table).values(uuid=uuid, **row)).inserted_primary_key
        return str(written[0]) if self.has_numbers and written else uuid

    def _record(self, row: Any) -> FailedRecord:
        return FailedRecord(**self._told(row))

    def _job(self, row: Any) -> FailedJob:
        return FailedJob(**self._told(row), **message_of(row))

    def _told(self, row: Any) -> dict[str, Any]:
        told = {**record_of(row), "version": _version(row)}
        return {**told, "id": str(row["id"])} if self.has_numbers else told


def _table(name: str) -> Table:
    # Told here and not read from the database, so that a worker goes on as soon as a missing column is there.
    return Table(
        name,
        MetaData(),
        Column("id", BigInteger, primary_key=True),
        Column("uuid", AsStored(String(255)), unique=True),
        Column("connection", AsStored(String(255))),
        Column("queue", AsStored(String(255))),
        Column("payload", AsStored(Text())),
        Column("exception", AsStored(Text())),
        Column("failed_at", AsStored(DateTime())),
        Column("key", AsStored(LargeBinary())),
        Column("headers", AsStored(Text())),
        Column("origin", AsStored(String(512))),
        Column("payload_bytes", AsStored(LargeBinary())),
    )


def _is_of(row: Any, failure: Failure) -> bool:
    """Whether a row is of this very message."""
    payload = payload_of(row)
    if payload is None:
        return False
    return (row["connection"], row["queue"], row["origin"], row["key"], without_attempts(payload)) == (
        failure.connection,
        failure.queue,
        failure.origin,
        failure.key,
        without_attempts(failure.payload),
    )


def _version(row: Any) -> RowVersion:
    return RowVersion(row["id"], row["uuid"], row["origin"], row["failed_at"])
