"""The table on PostgreSQL."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lamplighter.contracts import Message
from lamplighter.queue.drivers.database.reservation import Key, Reservation, Started
from lamplighter.queue.drivers.database.rows import LOCK_WAIT, Rows
from lamplighter.queue.drivers.leasing.store import Ended, How

MOMENT = "EXTRACT(EPOCH FROM statement_timestamp())"

# Reservations, and what of the table is still reserved so.
HELD = "unnest(%(ids)s::bigint[], %(attempts)s::int[], %(available)s::bigint[]) AS held (id, attempts, available_at)"
IS_HELD = (
    "jobs.id = held.id AND jobs.attempts = held.attempts AND jobs.available_at = held.available_at "
    "AND jobs.reserved_at IS NOT NULL"
)


class PostgresqlRows(Rows):
    """What has ended is deleted, and what begins is reserved, by one statement."""

    moment = MOMENT
    now = f"FLOOR({MOMENT})::bigint"
    soon = f"CEIL({MOMENT})::bigint"
    due = f"CEIL({MOMENT} + %(delay)s::float8)::bigint"
    waiting = " FOR UPDATE"
    locking = " FOR UPDATE SKIP LOCKED"

    def __init__(self, table: str, *, seconds: float) -> None:
        super().__init__(table, seconds=seconds)
        self.channel = f"lamplighter_{hashlib.md5(table.encode(), usedforsecurity=False).hexdigest()[:16]}"

    def prepare(self, connection: Any, former: Any) -> Any:
        """Set what holds for all transactions.

        A crash of the server may undo what was not written to its disk: a start or an end that it forgets lets a job
        run once more, and a release that it forgets leaves the job reserved until its lease is over. None is lost, and
        no worker waits for the disk. Nobody pushes by this connection.
        A plan that was made for a small table must not go through all of a large one.
        """
        connection.autocommit = True
        if former is not None:
            # The server may not know that it is lost, and its transaction would keep rows locked for hours.
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s"
            connection.execute(query, former)
        query = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        process = connection.execute(query).fetchone()
        connection.execute("SET default_transaction_isolation = 'read committed'")
        for setting in ("synchronous_commit", "enable_seqscan", "enable_bitmapscan"):
            connection.execute(f"SET {setting} = off")
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT}s'")
        return process

    def begin(self, connection: Any) -> None:
        """By a statement: the connection itself begins none."""
        connection.execute("BEGIN")

    @contextmanager
    def taking(
        self, connection: Any, queues: Sequence[str], most: int, ended: Sequence[Ended]
    ) -> Iterator[tuple[list[Started], int]]:
        """Settle and start in one transaction, committed at the end of a `with`; what began, and its number.

        All that is sent in a pipeline before its end is one transaction, without a BEGIN.
        """
        reservations = [end.lease.handle for end in ended if end.how is How.DELETED]
        others = [end for end in ended if end.how is not How.DELETED]
        values = {
            **_arrays(reservations),
            "most": most,
            **({"queue": queues[0]} if len(queues) == 1 else {"queues": list(queues)}),
        }
        with connection.pipeline():
            try:
                if others:
                    self.settle(connection, others)
                rows = connection.execute(self._take_query(len(queues)), values, prepare=True).fetchall()
                rows.sort(key=_order)
                yield [Started(*row[:8]) for row in rows], rows[0][8] if rows else 0
            except BaseException as error:
                from psycopg import Error  # a worker on another database has no psycopg

                if not isinstance(error, Error):
                    connection.close()  # no statement has failed, so that the end of the pipeline would commit
                raise

    def renew(self, connection: Any, reservations: Sequence[Reservation]) -> set[Key]:
        """In one statement."""
        free = f"SELECT jobs.id FROM {self.table} AS jobs, {HELD} WHERE {IS_HELD} FOR UPDATE OF jobs SKIP LOCKED"
        query = (
            f"WITH free AS MATERIALIZED ({free}) UPDATE {self.table} AS jobs SET reserved_at = {self.soon} FROM free "
            f"WHERE jobs.id = free.id RETURNING jobs.id, jobs.attempts, jobs.available_at"
        )
        return set(connection.execute(query, _arrays(reservations)).fetchall())

    def fate(self, connection: Any, number: int) -> bool | None:
        """Whether a transaction was committed; None while its connection has not ended yet.

        A server that has crashed may not know its number any more: nothing of it was written then.
        """
        query = "SELECT CASE WHEN %(number)s > txid_current() THEN 'aborted' ELSE txid_status(%(number)s) END"
        status = connection.execute(query, {"number": number}).fetchone()[0]
        return None if status == "in progress" else bool(status == "committed")

    def push(self, connection: Any, queue: str, messages: Sequence[Message], delay: float) -> None:
        """In one statement."""
        head = f"INSERT INTO {self.table} (queue, attempts, reserved_at, available_at, created_at, payload) "
        times = f"0, NULL, {self.available_at(delay)}, {self.now}"
        values: dict[str, Any] = {"queue": queue, "delay": float(delay)}
        if len(messages) == 1:
            values["payload"] = messages[0].payload.decode()
            connection.exec_driver_sql(f"{head}VALUES (%(queue)s, {times}, %(payload)s)", values)
            return
        values["payloads"] = [message.payload.decode() for message in messages]
        connection.exec_driver_sql(
            f"{head}SELECT %(queue)s, {times}, payload FROM unnest(%(payloads)b::text[]) "
            f"WITH ORDINALITY AS pushed (payload, number) ORDER BY number",
            values,
        )

    def tell(self, connection: Any, queue: str) -> None:
        """Notify; no setting of the transaction is changed, which is the caller's."""
        query = "SELECT pg_notify(%(channel)s, %(queue)s)"
        connection.exec_driver_sql(query, {"channel": self.channel, "queue": queue})

    def tell_by_itself(self, connection: Any, queue: str) -> None:
        """Notify without waiting for the disk: all that notify wait for each other until their commits are done."""
        query = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(queue)s)"
        connection.exec_driver_sql(query, {"channel": self.channel, "queue": queue})

    def peek(self, connection: Any, queues: Sequence[str]) -> float | None:
        """However many queues there are, one short statement."""
        query = self._queries.get("peek")
        if query is None:
            first = (
                f"SELECT available_at - {self.moment} FROM {self.table} WHERE {self._is_free('asked.queue')} "
                f"ORDER BY available_at, id LIMIT 1"
            )
            query = self._queries["peek"] = f"SELECT MIN(({first})) FROM unnest(%(queues)s::text[]) AS asked (queue)"
        found = connection.execute(query, {"queues": list(queues)}, prepare=True).fetchone()[0]
        return None if found is None else float(found)

    def _take_query(self, queues: int) -> str:
        query = self._queries.get(("take", queues > 1))
        if query is not None:
            return query
        # What has ended is deleted before anything is reserved: in this order no two workers wait for each other.
        gone = f"gone AS (DELETE FROM {self.table} AS jobs USING {HELD} WHERE {IS_HELD} RETURNING 1)"
        first, queue = "", "%(queue)s"
        if queues > 1:
            # They are looked at one after the other, until one has a job.
            first = (
                f"first AS MATERIALIZED (SELECT asked.queue FROM unnest(%(queues)s::text[]) AS asked (queue) "
                f"CROSS JOIN LATERAL ({self._free_rows('asked.queue', '1')}) AS free LIMIT 1), "
            )
            queue = "(SELECT queue FROM first)"
        query = self._queries["take", queues > 1] = (
            f"WITH {gone}, {first}chosen AS MATERIALIZED ({self._free_rows(queue, '%(most)s')}) "
            f"UPDATE {self.table} AS jobs SET reserved_at = {self.soon}, "
            f"attempts = LEAST(GREATEST(jobs.attempts, 0) + 1, {self.most_attempts}), "
            f"available_at = jobs.available_at - "
            f"(COALESCE(jobs.attempts, 0) >= {self.most_attempts} AND jobs.available_at > 0)::int "
            f"FROM chosen "
            f"WHERE jobs.id = chosen.id RETURNING jobs.id, jobs.queue, jobs.payload, jobs.attempts, jobs.reserved_at, "
            f"jobs.created_at, chosen.reserved_at IS NOT NULL, jobs.available_at, txid_current()"
        )
        return query

    def _free_rows(self, queue: str, most: str) -> str:
        return (
            f"SELECT id, reserved_at FROM {self.table} WHERE {self._is_due(queue)} "
            f"AND id <> ALL (%(ids)s::bigint[]) AND (SELECT COUNT(*) FROM gone) >= 0 "
            f"ORDER BY available_at, id LIMIT {most} FOR UPDATE SKIP LOCKED"
        )


def _arrays(reservations: Sequence[Reservation]) -> dict[str, str]:
    return {
        "ids": _array(each.id for each in reservations),
        "attempts": _array(each.attempts for each in reservations),
        "available": _array(each.available_at for each in reservations),
    }


def _array(numbers: Any) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _order(row: Any) -> tuple[int, int]:
    return row[7], row[0]
