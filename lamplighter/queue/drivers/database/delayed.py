"""The rows of all queues that are due later."""

from collections.abc import Sequence
from typing import Any

from lamplighter.contracts import HeldJob
from lamplighter.queue.drivers.database.reservation import bytes_of
from lamplighter.queue.drivers.database.rows import LAST, Rows
from lamplighter.queue.drivers.leasing.delayed import is_called, spellings_of
from lamplighter.queue.jobs.naming import id_and_name

PAGE = 50  # payloads in memory at a time


class DelayedRows:
    """Looks for them by the statements of a database; its id is the queue and the row's."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._mark = rows.mark.format
        self._columns = f"SELECT id, queue, {rows.payload}, available_at FROM {rows.table}"
        self._waits = f"reserved_at IS NULL AND available_at > {rows.now} AND available_at <= {LAST}"

    def held(self, connection: Any, most: int) -> list[HeldJob]:
        """The earliest first."""
        query = f"{self._columns} WHERE {self._waits} ORDER BY available_at, id LIMIT {self._mark('most')}"
        with self._stream(connection, query, most=most) as found:
            return [_held(*row) for row in found]

    def find(self, connection: Any, id: str) -> list[int]:
        """The ids of the rows that are called so."""
        queue, _, row = id.rpartition("#")
        if queue and row.isdecimal() and int(row) <= LAST:
            query = f"{self._columns} WHERE {self._waits} AND id = {self._mark('row')}"
            with self._stream(connection, query, row=int(row)) as found:
                if [each[1] for each in found] == [queue]:
                    return [int(row)]
        texts = {f"t{n}": f"%{_literal(text)}%" for n, text in enumerate(spellings_of(id))}
        likes = " OR ".join(f"payload LIKE {self._mark(name)} ESCAPE '!'" for name in texts)
        with self._stream(connection, f"{self._columns} WHERE {self._waits} AND ({likes})", **texts) as found:
            return [int(row) for row, _, payload, _ in found if is_called(bytes_of(payload), id)]

    def delete(self, connection: Any, ids: Sequence[int]) -> int:
        """In a transaction: delete rows, but those that are due by now or were taken; how many."""
        which = ", ".join(map(str, ids))
        query = f"DELETE FROM {self._rows.table} WHERE id IN ({which}) AND {self._waits}"
        return int(connection.exec_driver_sql(query, self._rows.values()).rowcount)

    def _stream(self, connection: Any, query: str, **values: Any) -> Any:
        streamed = connection.execution_options(stream_results=True, yield_per=PAGE)
        return streamed.exec_driver_sql(query, self._rows.values(**values))


def _held(id: int, queue: str, payload: Any, due: Any) -> HeldJob:
    job_id, name = id_and_name(bytes_of(payload))
    return HeldJob(f"{queue}#{id}", job_id, name, queue, float(due), can_cancel=True)


def _literal(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
