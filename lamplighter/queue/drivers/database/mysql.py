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
MOST_TOGETHER = 2 * 1024 * 1024  # bytes of payloads in one statement
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
        parts = _parts(messages)
        for part in parts:  # before the first is there
            if len(part) == 1 and len(part[0].payload) > MOST_TOGETHER:
                _check_size(connection, part[0].payload)
        for part in parts:
            names = {f"p{n}": message.payload.decode() for n, message in enumerate(part)}
            connection.exec_driver_sql(head + ", ".join(map(row.format, names)), {**values, **names})


def _parts(messages: Sequence[Message]) -> list[list[Message]]:
    parts: list[list[Message]] = []
    size = 0
    for message in messages:
        size += len(message.payload)
        if not parts or size > MOST_TOGETHER:
            parts.append([])
            size = len(message.payload)
        parts[-1].append(message)
    return parts


def _check_size(connection: Any, payload: bytes) -> None:
    """A server cuts the connection of whoever sends too much, which looks as if it were away."""
    limit = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar())
    size = len(payload) + sum(payload.count(letter) for letter in (b'"', b"\\", b"'", b"\n")) + 1000
    if size > limit:
        raise MessageTooLarge(
            f"The payload has {len(payload):,} bytes, and the server takes statements of {limit:,}; "
            f"raise its max_allowed_packet, or keep large data elsewhere.",
            size=len(payload),
            limit=limit,
        )
