"""Failed jobs in a table with Laravel's columns."""

import base64
import json
import uuid as uuids
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from lamplighter.contracts import Headers
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.failed import FailedJob
from lamplighter.queue.failed.trace import format_trace

NAMESPACE = uuids.UUID("6c616d70-6c69-5768-8465-720000000001")
MAX_ID = 255
PAGE = 100


class DatabaseFailedJobs:
    """One row a job, written in a transaction of its own: the job's may be the one that failed."""

    def __init__(self, databases: DatabaseManager, *, database: str | None, table: str) -> None:
        self._databases = databases
        self._database = database
        self._name = table
        self._found: Table | None = None

    def record(
        self,
        *,
        connection: str,
        queue: str,
        payload: bytes,
        error: BaseException,
        uuid: str | None,
        key: bytes | None,
        headers: Headers,
        origin: str,
        timestamp_ms: int | None,
    ) -> str:
        """Keep a job, in place of an older record of the same; its id."""
        id = _id(uuid, origin, timestamp_ms, payload)
        text, is_clean = _as_text(payload)
        row = {
            "uuid": id,
            "connection": connection,
            "queue": queue,
            "payload": text,
            "exception": format_trace(error),
            "failed_at": datetime.now(UTC).replace(tzinfo=None),
            "key": key,
            "headers": _dump_headers(headers),
            "origin": origin,
            "payload_bytes": None if is_clean else payload,
        }
        with self._databases.engine(self._database).begin() as transaction:
            self._put(transaction, self._table(transaction), row)
        return id

    def all(self) -> Iterator[FailedJob]:
        """Every job, the newest first, read a page at a time."""
        last: int | None = None
        while True:
            with self._databases.engine(self._database).connect() as connection:
                table = self._table(connection)
                query = select(table).order_by(table.c.id.desc()).limit(PAGE)
                rows = connection.execute(query if last is None else query.where(table.c.id < last)).all()
            if not rows:
                return
            for row in rows:
                yield _job(row._mapping)
            last = rows[-1]._mapping["id"]

    def find(self, id: str) -> FailedJob | None:
        """One job."""
        with self._databases.engine(self._database).connect() as connection:
            table = self._table(connection)
            row = connection.execute(select(table).where(table.c.uuid == id)).one_or_none()
        return None if row is None else _job(row._mapping)

    def forget(self, id: str) -> bool:
        """Delete one job; whether there was one."""
        with self._databases.engine(self._database).begin() as connection:
            table = self._table(connection)
            return bool(connection.execute(delete(table).where(table.c.uuid == id)).rowcount)

    def flush(self, *, hours: float | None = None) -> int:
        """Delete all jobs, or those that failed at least so many hours ago; how many."""
        with self._databases.engine(self._database).begin() as connection:
            table = self._table(connection)
            query = delete(table)
            if hours is not None:
                query = query.where(
                    table.c.failed_at <= datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)
                )
            return int(connection.execute(query).rowcount)

    def _put(self, connection: Connection, table: Table, row: dict[str, Any]) -> None:
        values = {name: value for name, value in row.items() if name != "uuid"}
        if connection.execute(update(table).where(table.c.uuid == row["uuid"]).values(values)).rowcount:
            return
        try:
            with connection.begin_nested():
                connection.execute(insert(table).values(row))
        except IntegrityError:
            # Another worker recorded the same job between the two statements.
            connection.execute(update(table).where(table.c.uuid == row["uuid"]).values(values))

    def _table(self, connection: Connection) -> Table:
        """The table as it is: a PHP application's own may lack the columns that Kafka needs, and then says so."""
        if self._found is None:
            self._found = Table(self._name, MetaData(), autoload_with=connection)
        return self._found


def _id(uuid: str | None, origin: str, timestamp_ms: int | None, payload: bytes) -> str:
    """The payload's uuid, else one that the same message always has."""
    if uuid and len(uuid) <= MAX_ID and "\x00" not in uuid:
        return uuid
    digest = base64.b16encode(uuids.uuid5(NAMESPACE, payload.hex()).bytes).decode()
    return str(uuids.uuid5(NAMESPACE, f"{origin} {timestamp_ms} {digest}"))


def _as_text(payload: bytes) -> tuple[str, bool]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"), False
    return text.replace("\x00", "\\x00"), "\x00" not in text


def _dump_headers(headers: Headers) -> str | None:
    if not headers:
        return None
    pairs = [(name, None if value is None else base64.b64encode(value).decode()) for name, value in headers]
    return json.dumps(pairs)


def _load_headers(text: str | None) -> Headers:
    if not text:
        return ()
    return [(name, None if value is None else base64.b64decode(value)) for name, value in json.loads(text)]


def _job(row: Any) -> FailedJob:
    payload: bytes | None = row["payload_bytes"]
    if payload is None:
        payload = row["payload"].encode("utf-8")
    return FailedJob(
        id=row["uuid"],
        connection=row["connection"],
        queue=row["queue"],
        name=_name(payload),
        payload=payload,
        key=row["key"],
        headers=_load_headers(row["headers"]),
        origin=row["origin"],
        exception=row["exception"],
        failed_at=row["failed_at"].replace(tzinfo=UTC),
    )


def _name(payload: bytes) -> str:
    try:
        fields = json.loads(payload)
        return str(fields.get("displayName") or fields.get("job") or "unknown")
    except (ValueError, AttributeError, RecursionError):
        return "unreadable payload"
