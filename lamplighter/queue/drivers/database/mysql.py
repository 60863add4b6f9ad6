"""The table on MariaDB and MySQL."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, Unavailable
from lamplighter.queue.drivers.database.rows import LOCK_WAIT, MOST_ATTEMPTS, Rows

PATIENCE = 5.0  # seconds for the end of a connection that was lost
MOST_TOGETHER = 2 * 1024 * 1024  # bytes of rows in one statement
SMALL = 64 * 1024  # bytes of rows that every server takes
HEAD, ROW = 2_000, 1_000  # bytes of a statement, and of a row in it, beside the payloads
ESCAPED = (b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\")
MOST_BY_TYPE = {"tinyint": 127, "tinyint unsigned": 255}  # Laravel had the latter until version 12


class MysqlRows(Rows):
    """Without gaps being locked, so that those who push are not kept waiting."""

    now = "UNIX_TIMESTAMP()"
    # UNIX_TIMESTAMP(NOW(6)) would be wrong for an hour when summer time ends. MySQL cuts a quotient to four digits.
    moment = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 0.000001)"
    soon = f"CEIL({moment})"
    due = f"CEIL({moment} + %(delay)s)"
    waiting = " FOR UPDATE"

    def __init__(self, table: str, *, seconds: float, can_skip: bool, bare_table: str) -> None:
        """`can_skip`: from MariaDB 10.6 and MySQL 8 on, rows that others have locked can be passed over."""
        self.locking = " FOR UPDATE SKIP LOCKED" if can_skip else " FOR UPDATE"
        super().__init__(table, seconds=seconds)
        self._bare_table = bare_table

    def prepare(self, connection: Any, former: str | None) -> str:
        """Set what holds for all transactions, and see how many attempts the column takes."""
        lock = self._end_former(connection, former)
        limits = f"innodb_lock_wait_timeout = {LOCK_WAIT}, lock_wait_timeout = {LOCK_WAIT}"
        self._execute(connection, f"SET SESSION {limits}")
        self._execute(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        query = (
            "SELECT column_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %(table)s AND column_name = 'attempts'"
        )
        found = self._execute(connection, query, {"table": self._bare_table}).fetchone()
        kind = str(found[0]).lower() if found else ""
        width, _, sign = kind.partition("(")
        name = f"{width} unsigned" if sign.endswith("unsigned") else width
        self.most_attempts = MOST_BY_TYPE.get(name, MOST_ATTEMPTS)
        return lock

    def _end_former(self, connection: Any, former: str | None) -> str:
        """End the worker's former connection, known by the name of a lock: the server may not know that it is lost.

        Its transaction would keep rows locked for hours.
        """
        # A worker on another database has no PyMySQL.
        from pymysql.err import MySQLError  # type: ignore[import-untyped]

        until = time.monotonic() + PATIENCE
        while former:
            holder = self._execute(connection, "SELECT IS_USED_LOCK(%(name)s)", {"name": former}).fetchone()[0]
            if holder is None:
                break
            if time.monotonic() >= until:
                raise Unavailable("The server does not end a connection of the queue that was lost.")
            with suppress(MySQLError):  # it has ended by itself
                self._execute(connection, f"KILL {int(holder)}")
            time.sleep(0.02)
        name = f"lamplighter.{uuid4().hex}"
        self._execute(connection, "SELECT GET_LOCK(%(name)s, 0)", {"name": name})
        return name

    def begin(self, connection: Any) -> None:
        """The first statement does, without a round trip of its own."""
        connection.autocommit(False)

    def peek(self, connection: Any, queues: Sequence[str]) -> float | None:
        """An open transaction would keep others from changing the table."""
        connection.autocommit(True)
        return super().peek(connection, queues)

    def push(self, connection: Any, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Many rows a statement, but no statement that the server would refuse for its size."""
        values = {"queue": queue, "delay": float(delay)}
        head = f"INSERT INTO {self.table} (queue, attempts, reserved_at, available_at, created_at, payload) VALUES "
        row = f"(%(queue)s, 0, NULL, {self.available_at(delay)}, {self.now}, %({{}})s)"
        for part in self._parts(connection, messages):
            names = {f"p{n}": message.payload.decode() for n, message in enumerate(part)}
            connection.exec_driver_sql(head + ", ".join(map(row.format, names)), {**values, **names})

    def _parts(self, connection: Any, messages: Sequence[Message]) -> list[list[Message]]:
        """What goes in one statement each; before the first is there, all are looked at."""
        sizes = [_size(message.payload) for message in messages]
        if sum(sizes) <= SMALL:
            return [list(messages)]
        # A server cuts the connection of whoever sends too much, which looks as if it were away.
        limit = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar()) - HEAD
        parts: list[list[Message]] = []
        together = 0
        for message, size in zip(messages, sizes, strict=True):
            if size > limit:
                raise MessageTooLarge(
                    f"The payload has {len(message.payload):,} bytes, and the server takes statements of {limit:,}; "
                    f"raise its max_allowed_packet, or keep large data elsewhere.",
                    size=len(message.payload),
                    limit=limit,
                )
            together += size
            if not parts or together > min(limit, MOST_TOGETHER):
                parts.append([])
                together = size
            parts[-1].append(message)
        return parts


def _size(payload: bytes) -> int:
    """Bytes of a row in a statement, with what PyMySQL writes before letters that end a text."""
    return len(payload) + sum(map(payload.count, ESCAPED)) + ROW
