"""Failed jobs in a table with Laravel's columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from lamplighter.contracts import Databases
from lamplighter.database.odd_values import AsStored, has_id, id_of
from lamplighter.database.rows import Rows, dump_headers
from lamplighter.queue.failed import FailedJob, FailedJobs, FailedRecord, Failure
from lamplighter.queue.failed.naming import chosen_id
from lamplighter.queue.failed.row import message_of, payload_of, record_of
from lamplighter.queue.failed.trace import format_trace

T = TypeVar("T")

PAGE = 20  # rows with their payloads in memory at a time
CHUNK = 500  # rows of one statement without their payloads
TRIES = 20  # of a record whose id others take at the same moment; each time one of them is done


@dataclass(frozen=True, slots=True)
class RowVersion:
    """What tells a row from a later one.

    SQLite gives the number of a deleted row once more, and the time has whole seconds in MySQL: it takes both.
    """

    number: int
    failed_at: Any  # as it is stored


class DatabaseFailedJobs(FailedJobs):
    """One row a job, written in a transaction of its own: the job's may be the one that failed.

    Every method raises MigrationError while the table is not there, and Unavailable while no database answers.
    """

    def __init__(self, databases: Databases, *, database: str | None, table: str) -> None:
        self._table = _table(table)
        self._rows = Rows(databases, database, self._table, kept="failed jobs")

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same message; its id."""
        text, is_clean = _as_text(failure.payload)
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

    def records(self, *, ids: Sequence[str] | None = None, until: datetime | None = None) -> list[FailedRecord]:
        """Every record, the newest first, or those with these ids, in this order; no message is read for it."""
        columns = self._table.c
        query = select(
            columns.id, columns.uuid, columns.connection, columns.queue, columns.origin, columns.failed_at
        ).order_by(columns.id.desc())
        if until is not None:
            query = query.where(columns.failed_at <= until.astimezone(UTC).replace(tzinfo=None))
        if ids is None:
            return [_record(row) for row in self._rows.read(query)]
        found: dict[Any, FailedRecord] = {}
        for part in _parts(ids, CHUNK):
            for row in self._rows.read(query.where(has_id(columns.uuid, part, is_sqlite=self._rows.is_sqlite))):
                record = _record(row)
                found |= {row["uuid"]: record, record.id: record}
        return list({found[id].version: found[id] for id in ids if id in found}.values())

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, in their order, read a page at a time; rows that are new or gone are left out."""
        for page in _parts(records, PAGE):
            numbers = [record.version.number for record in page]
            rows = {row["id"]: row for row in self._rows.read(select(self._table).where(self._table.c.id.in_(numbers)))}
            for record in page:
                row = rows.get(record.version.number)
                if row is not None and _is_as_read(row, record):
                    yield _job(row)

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Delete these records where they are there as they were read; how many."""
        return sum(self._forget(part) for part in _parts(records, CHUNK))

    def _forget(self, records: Sequence[FailedRecord]) -> int:
        columns = self._table.c
        read = {record.version.number: record for record in records}
        rows = select(columns.id, columns.uuid, columns.failed_at).where(columns.id.in_([*read])).order_by(columns.id)
        with self._rows.transaction() as connection:
            # Compared here and not by the database: PHP writes its times into SQLite in a form of its own.
            kept = connection.execute(rows.with_for_update()).mappings().all()
            numbers = [row["id"] for row in kept if _is_as_read(row, read[row["id"]])]
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
            id = str(older["uuid"])
        else:
            # A sender that repeats a uuid must not cost us a job. Some databases find the uuid in other letters, too.
            taken = {each["uuid"].lower() for each in kept}
            id = next((name for name in names if name.lower() not in taken), str(uuid4()))
        connection.execute(insert(self._table).values(uuid=id, **row))
        return id


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


def _parts(of: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (of[first : first + size] for first in range(0, len(of), size))


def _is_of(row: Any, failure: Failure) -> bool:
    """Whether a row is of this very message."""
    return (row["connection"], row["queue"], row["origin"], row["key"], payload_of(row)) == (
        failure.connection,
        failure.queue,
        failure.origin,
        failure.key,
        failure.payload,
    )


def _is_as_read(row: Any, record: FailedRecord) -> bool:
    return id_of(row["uuid"]) == record.id and _version(row) == record.version


def _as_text(payload: bytes) -> tuple[str, bool]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"), False
    return text.replace("\x00", "\\x00"), "\x00" not in text


def _record(row: Any) -> FailedRecord:
    return FailedRecord(**record_of(row), version=_version(row))


def _job(row: Any) -> FailedJob:
    return FailedJob(**record_of(row), version=_version(row), **message_of(row))


def _version(row: Any) -> RowVersion:
    return RowVersion(row["id"], row["failed_at"])
