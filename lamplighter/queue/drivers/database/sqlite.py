"""The table on SQLite, whose clock is that of the host."""

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lamplighter.contracts import Message
from lamplighter.queue.drivers.database.rows import Rows

PATIENCE = 5.0  # seconds that a worker waits for another writer, before it asks again


class SqliteRows(Rows):
    """One writer at a time: a transaction begins as one."""

    mark = ":{}"
    now = ":now"
    moment = ":moment"
    soon = ":soon"
    due = ":due"
    payload = "CAST(payload AS BLOB)"  # PHP may have written bytes that are no text

    def prepare(self, connection: sqlite3.Connection, former: object) -> None:
        """As `lamplighter.database.sqlite` does, but for the patience."""
        connection.isolation_level = None
        for pragma in (f"busy_timeout = {PATIENCE * 1000:.0f}", "journal_mode = WAL", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {pragma}").close()

    def begin(self, connection: sqlite3.Connection) -> None:
        """As a writer."""
        connection.execute("BEGIN IMMEDIATE")

    def push(self, connection: Any, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Statement after statement, which cost nothing in the same process."""
        query = (
            f"INSERT INTO {self.table} (queue, attempts, reserved_at, available_at, created_at, payload) "
            f"VALUES (:queue, 0, NULL, {self.available_at(delay)}, :now, :payload)"
        )
        values = self.values(queue=queue, delay=delay)
        connection.exec_driver_sql(query, [{**values, "payload": _text(message.payload)} for message in messages])

    def values(self, **values: Any) -> Mapping[str, Any]:
        """With the times."""
        moment = time.time()
        delay = values.get("delay", 0.0)
        return {
            **values,
            "now": math.floor(moment),
            "moment": moment,
            "soon": math.ceil(moment),
            "due": math.ceil(moment + delay),
        }


def _text(payload: bytes) -> str | bytes:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload
