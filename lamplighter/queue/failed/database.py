"""Failed jobs in a table with Laravel's columns."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

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
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from lamplighter.contracts import Databases
from lamplighter.database.rows import Rows, dump_headers, load_headers
from lamplighter.queue.failed import FailedJob, Failure
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.naming import chosen_id, name_of
from lamplighter.queue.failed.trace import format_trace

PAGE = 20  # rows with their payloads in memory at a time


class DatabaseFailedJobs:
    """One row a job, written in a transaction of its own: the job's may be the one that failed.

    Every method raises MigrationError while the table is not there, and Unavailable while no database answers.
    """

    def __init__(self, databases: Databases, *, database: str | None, table: str) -> None:
        self._table = _table(table)
        self._rows = Rows(databases, database, self._table, kept="failed jobs")

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same; its id."""
        text, is_clean = _as_text(failure.payload)
        row = {
            "uuid": chosen_id(failure.uuid, failure.identity),
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
        with self._rows.transaction() as transaction:
            if self._is_of_another(transaction, row, failure.payload):
                row["uuid"] = failure.identity
            transaction.execute(_upsert(transaction.dialect.name, self._table, row))
        return str(row["uuid"])

    def all(self) -> Iterator[FailedJob]:
        """Every job, the newest first, read a page at a time."""
        query = select(self._table).order_by(self._table.c.id.desc()).limit(PAGE)
        rows = self._rows.read(query)
        while rows:
            yield from map(_job, rows)
            rows = self._rows.read(query.where(self._table.c.id < rows[-1]["id"]))

    def ids(self) -> list[str]:
        """The ids of every job, the newest first."""
        return [row["uuid"] for row in self._rows.read(select(self._table.c.uuid).order_by(self._table.c.id.desc()))]

    def find(self, id: str) -> FailedJob | None:
        """One job."""
        rows = self._rows.read(select(self._table).where(self._table.c.uuid == id))
        return _job(rows[0]) if rows else None

    def forget(self, id: str) -> bool:
        """Delete one job; whether there was one."""
        with self._rows.transaction() as connection:
            return bool(connection.execute(delete(self._table).where(self._table.c.uuid == id)).rowcount)

    def flush(self, *, hours: float | None = None) -> int:
        """Delete all jobs, or those that failed at least so many hours ago; how many."""
        query = delete(self._table)
        if hours is not None:
            until = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)
            query = query.where(self._table.c.failed_at <= until)
        with self._rows.transaction() as connection:
            return int(connection.execute(query).rowcount)

    def _is_of_another(self, connection: Connection, row: dict[str, Any], payload: bytes) -> bool:
        """Whether another message is kept under this id: a sender that repeats a uuid must not cost us a job."""
        columns = self._table.c
        query = select(columns.payload, columns.payload_bytes, columns.key).where(columns.uuid == row["uuid"])
        kept = connection.execute(query).mappings().first()
        if kept is None:
            return False
        # A copy that was put back after a failed attempt differs in this count alone.
        return bool(kept["key"] != row["key"] or without_attempts(_payload(kept)) != without_attempts(payload))


def _table(name: str) -> Table:
    # Told here and not read from the database, so that a worker goes on as soon as a missing column is there.
    return Table(
        name,
        MetaData(),
        Column("id", BigInteger, primary_key=True),
        Column("uuid", String(255), unique=True),
        Column("connection", String(255)),
        Column("queue", String(255)),
        Column("payload", Text),
        Column("exception", Text),
        Column("failed_at", DateTime),
        Column("key", LargeBinary),
        Column("headers", Text),
        Column("origin", String(512)),
        Column("payload_bytes", LargeBinary),
    )


def _upsert(dialect: str, table: Table, row: dict[str, Any]) -> Any:
    changes = {name: value for name, value in row.items() if name != "uuid"}
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(table).values(row).on_duplicate_key_update(changes)
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).values(row).on_conflict_do_update(index_elements=["uuid"], set_=changes)


def _as_text(payload: bytes) -> tuple[str, bool]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"), False
    return text.replace("\x00", "\\x00"), "\x00" not in text


def _payload(row: Any) -> bytes:
    kept: bytes | None = row["payload_bytes"]
    text: str = row["payload"]
    return text.encode("utf-8") if kept is None else kept


def _job(row: Any) -> FailedJob:
    payload = _payload(row)
    return FailedJob(
        id=row["uuid"],
        connection=row["connection"],
        queue=row["queue"],
        name=name_of(payload),
        payload=payload,
        key=row["key"],
        headers=load_headers(row["headers"]),
        origin=row["origin"],
        exception=row["exception"],
        failed_at=row["failed_at"].replace(tzinfo=UTC),
    )
