"""The statements that read and write rows of the table, where a database needs no others."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lamplighter.contracts import Message, Sizes
from lamplighter.queue.drivers.database.reservation import Key, Reservation, Started
from lamplighter.queue.drivers.leasing.store import Ended, How

LAST = 2**63 - 1  # the highest id, and the latest time; what others have written that is none is not so early
LOCK_WAIT = 1  # seconds that a worker waits for a row which another transaction has locked
MOST_ATTEMPTS = 32_767  # of Laravel's smallest column of today


class Rows:
    """Statements on a connection of the driver itself; each method is told in which transaction it runs.

    Times are whole seconds by the clock of the database. What lies in the future is rounded up, and the present is
    rounded down, so that nothing is early; a reservation is dated up, too, which holds it for at least `seconds`.

    Attributes:
        mark: how the driver names a parameter.
        now: the present in SQL, rounded down.
        moment: the present in SQL, with fractions of a second.
        soon: the present in SQL, rounded up.
        due: the present and the parameter `delay` in SQL, rounded up.
        payload: the column as it is read.
        locking: what a SELECT of rows that nobody else is at ends with.
        most_attempts: the highest number that the column takes.
    """

    mark = "%({})s"
    now: str
    moment: str
    soon: str
    due: str
    payload = "payload"
    locking = ""
    most_attempts = MOST_ATTEMPTS

    def __init__(self, table: str, *, seconds: float) -> None:
        """`table` is quoted as this database wants it."""
        self.table = table
        self.seconds = seconds
        self._queries: dict[Any, str] = {}
        mark = self.mark.format
        # The same text for each job, which the database, or its driver, has parsed before.
        self._next = (
            f"SELECT id, {self.payload}, attempts, {self.soon}, created_at, reserved_at, available_at FROM {table} "
            f"WHERE {self._is_due(mark('queue'))} ORDER BY available_at, id LIMIT {mark('most')}{self.locking}"
        )
        self._delete_one = (
            f"DELETE FROM {table} WHERE id = {mark('id')} AND attempts = {mark('attempts')} "
            f"AND available_at = {mark('available_at')} AND reserved_at IS NOT NULL"
        )

    # for the worker's connection ───────────────────────────────────────────────────────────────────────────────────

    def prepare(self, connection: Any, former: Any) -> Any:
        """Make a new connection ready; what ends it, should it be lost, which the one after it is given as `former`."""

    def begin(self, connection: Any) -> None:
        """Begin a transaction that writes."""

    def settle(self, connection: Any, ended: Sequence[Ended]) -> None:
        """In a transaction: end leases, but those that others may have by now."""
        deleted: list[Reservation] = []
        for end in ended:
            if end.how is How.DELETED:
                deleted.append(end.lease.handle)
            elif end.how is How.GIVEN_BACK:
                self._give_back(connection, end)
            else:
                self._release(connection, end)
        if len(deleted) == 1:
            self._execute(connection, self._delete_one, _values(deleted[0]))
        elif deleted:
            self._execute(connection, f"DELETE FROM {self.table} WHERE {_any_of(deleted)}")

    def start(self, connection: Any, queues: Sequence[str], most: int) -> list[Started]:
        """In a transaction: reserve up to `most` jobs of the first queue that has any."""
        for queue in queues:
            found = self._execute(connection, self._next, self.values(queue=queue, most=most)).fetchall()
            if found:
                return self._reserve(connection, queue, found)
        return []

    def peek(self, connection: Any, queues: Sequence[str]) -> float | None:
        """Outside of a transaction: seconds until there is a job, 0 or less when there is one; None without any."""
        query = self._queries.get(len(queues))
        if query is None:
            parts = [
                f"SELECT * FROM (SELECT available_at - {self.moment} FROM {self.table} "
                f"WHERE {self._is_free(self.mark.format(f'q{n}'))} "
                f"AND available_at <= {LAST} ORDER BY available_at, id LIMIT 1) AS n{n}"
                for n in range(len(queues))
            ]
            query = self._queries[len(queues)] = " UNION ALL ".join(parts)
        values = self.values(**{f"q{n}": queue for n, queue in enumerate(queues)})
        found = self._execute(connection, query, values).fetchall()
        return min((float(row[0]) for row in found), default=None)

    def renew(self, connection: Any, reservations: Sequence[Reservation]) -> set[Key]:
        """In a transaction: reserve anew what is still reserved so, and nobody has locked; which those are."""
        found = self.there(connection, reservations, self.locking)
        if found:
            which = f"id IN ({', '.join(str(key[0]) for key in found)})"
            self._execute(connection, f"UPDATE {self.table} SET reserved_at = {self.soon} WHERE {which}", self.values())
        return found

    def there(self, connection: Any, reservations: Sequence[Reservation], locking: str = "") -> set[Key]:
        """Those whose rows are still reserved so."""
        query = f"SELECT id, attempts, available_at FROM {self.table} WHERE {_any_of(reservations)}{locking}"
        return {(row[0], row[1], row[2]) for row in self._execute(connection, query).fetchall()}

    def is_there(self, connection: Any, reservation: Reservation) -> bool:
        """Whether a row is reserved so."""
        which = f"{_is(reservation)} AND reserved_at = {int(reservation.reserved_at)}"
        return bool(self._execute(connection, f"SELECT id FROM {self.table} WHERE {which}").fetchall())

    # for connections of SQLAlchemy ─────────────────────────────────────────────────────────────────────────────────

    def push(self, connection: Any, queue: str, messages: Sequence[Message], delay: float) -> None:
        """In a transaction: add rows in their order, in as few statements as the database takes."""
        raise NotImplementedError

    def tell(self, connection: Any, queue: str) -> None:
        """In the transaction of a push: wake workers that wait when it is committed, where the database can."""

    def tell_by_itself(self, connection: Any, queue: str) -> None:
        """The same behind the push, in a transaction that nothing else is in."""

    def sizes(self, connection: Any, queue: str) -> Sizes:
        """Count."""
        late, expired = f"available_at > {self.now}", self._is_expired()
        query = (
            f"SELECT COUNT(CASE WHEN {expired} OR (reserved_at IS NULL AND NOT {late}) THEN 1 END), "
            f"COUNT(CASE WHEN reserved_at IS NULL AND {late} THEN 1 END), "
            f"COUNT(CASE WHEN reserved_at IS NOT NULL AND NOT ({expired}) THEN 1 END), "
            f"MIN(CASE WHEN {expired} OR (reserved_at IS NULL AND NOT {late}) THEN created_at END) "
            f"FROM {self.table} WHERE queue = {self.mark.format('queue')}"
        )
        pending, delayed, reserved, oldest = connection.exec_driver_sql(query, self.values(queue=queue)).one()
        return Sizes(pending, delayed, reserved=reserved, oldest=_number(oldest))

    def clear(self, connection: Any, queue: str) -> int:
        """In a transaction: delete all."""
        query = f"DELETE FROM {self.table} WHERE queue = {self.mark.format('queue')}"
        return int(connection.exec_driver_sql(query, self.values(queue=queue)).rowcount)

    # parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def values(self, **values: Any) -> Mapping[str, Any]:
        """The values of parameters, and what else the statements need."""
        return values

    def available_at(self, delay: float) -> str:
        """When a job is due that is pushed now, in SQL."""
        return self.due if delay > 0 else self.now

    def _execute(self, connection: Any, query: str, values: Mapping[str, Any] | None = None) -> Any:
        cursor = connection.cursor()
        cursor.execute(query, values or {})
        return cursor

    def _is_expired(self) -> str:
        return f"reserved_at <= {self.now} - {math.ceil(self.seconds)}"

    def _is_free(self, queue: str) -> str:
        return f"queue = {queue} AND (reserved_at IS NULL OR {self._is_expired()})"

    def _is_due(self, queue: str) -> str:
        # What is reserved was due already, so that one look at the index finds both kinds.
        return f"available_at <= {self.now} AND {self._is_free(queue)}"

    def _reserve(self, connection: Any, queue: str, found: Sequence[Any]) -> list[Started]:
        started: list[Started] = []
        usual: list[int] = []
        odd: list[Started] = []
        for id, payload, attempts, soon, created, reserved, available in found:
            is_usual = type(attempts) is int and 0 <= attempts < self.most_attempts and type(available) is int
            counted = (attempts + 1, available) if is_usual else self._counted(attempts, available)
            one = Started(id, queue, payload, counted[0], int(soon), created, reserved is not None, counted[1])
            started.append(one)
            if is_usual:
                usual.append(id)
            else:
                odd.append(one)
        head = f"UPDATE {self.table} SET reserved_at = {self.mark.format('reserved_at')}, attempts = "
        if usual:
            values = {"reserved_at": started[0].reserved_at, "id": usual[0]}
            which = f"= {self.mark.format('id')}" if len(usual) == 1 else f"IN ({', '.join(map(str, usual))})"
            self._execute(connection, f"{head}attempts + 1 WHERE id {which}", values)
        for one in odd:
            query = f"{head}{one.attempts}, available_at = {one.available_at} WHERE id = {self.mark.format('id')}"
            self._execute(connection, query, {"reserved_at": one.reserved_at, "id": one.id})
        return started

    def _counted(self, attempts: Any, available: Any) -> tuple[int, int]:
        """One start more of a row whose column takes no more of them, or where others have written what is no number.

        Such a row counts from 0.
        """
        before = max(0, _whole(attempts))
        at = _whole(available)
        if before >= self.most_attempts:
            return self.most_attempts, at - 1 if at > 0 else at
        return before + 1, at

    def _release(self, connection: Any, end: Ended) -> None:
        """Laravel's way: a new row, at the end of its queue, so that others get their turn."""
        less = "attempts" if end.how is How.RELEASED else "CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END"
        which = _is(end.lease.handle)
        self._execute(
            connection,
            f"INSERT INTO {self.table} (queue, attempts, reserved_at, available_at, created_at, payload) "
            f"SELECT queue, {less}, {_reserved_before(end)}, {self.available_at(end.delay)}, {self.now}, payload "
            f"FROM {self.table} WHERE {which}{self.waiting}",
            self.values(delay=float(end.delay)),
        )
        self._execute(connection, f"DELETE FROM {self.table} WHERE {which}")

    # What a SELECT of a row that is changed next ends with.
    waiting = ""

    def _give_back(self, connection: Any, end: Ended) -> None:
        """Dated earlier, so that nobody who takes it holds what this reservation was; it is first among those due."""
        self._execute(
            connection,
            f"UPDATE {self.table} SET reserved_at = {_reserved_before(end)}, "
            f"attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END, "
            f"available_at = CASE WHEN available_at > 0 THEN available_at - 1 ELSE available_at END "
            f"WHERE {_is(end.lease.handle)}",
        )


def _reserved_before(end: Ended) -> str:
    """What stands in a row that is to be as it was before this start: a lease that ran out, where one did."""
    return "0" if end.lease.has_crashed and end.how is not How.RELEASED else "NULL"


def _values(reservation: Reservation) -> dict[str, int]:
    return {"id": reservation.id, "attempts": reservation.attempts, "available_at": reservation.available_at}


def _is(reservation: Reservation) -> str:
    """The row, as long as nobody has reserved it after us."""
    id, attempts, available = map(int, reservation.key)
    return f"id = {id} AND attempts = {attempts} AND available_at = {available} AND reserved_at IS NOT NULL"


def _any_of(reservations: Sequence[Reservation]) -> str:
    if len(reservations) == 1:
        return _is(reservations[0])
    ids = ", ".join(str(int(each.id)) for each in reservations)
    return f"id IN ({ids}) AND ({' OR '.join(f'({_is(each)})' for each in reservations)})"


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
