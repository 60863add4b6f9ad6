"""`datastore:rebuild`: makes the tables anew from the topic, which is the source of truth."""

from collections import Counter
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import ColumnClause, Connection, Engine, Select, column, delete, inspect, literal, select, table

from app.Jobs.store_data import StoreData
from app.Jobs.update_data import UpdateData
from app.Services.event_job import EventJob
from app.Services.rows import Rows
from app.Services.tables import TABLES
from lamplighter import Command
from lamplighter.console.command import confirm_in_production
from lamplighter.contracts import Application
from lamplighter.errors import ConsoleError, PayloadError
from lamplighter.kafka.reading.replay import Record, Replay
from lamplighter.queue.jobs.payload import CLAIM_JOB, Envelope, read

LAST_MS = 253_402_300_799_999  # the end of the calendar; a sender may have written any time
REPLAYED: dict[str, type[EventJob]] = {job.name: job for job in (StoreData, UpdateData)}


class Outcome(Enum):
    """What has become of an event."""

    HOLDS = auto()
    UNREADABLE = auto()
    PUT_ASIDE = auto()
    OTHER = auto()  # a query, a job of another name, one that is refused


class DatastoreRebuildCommand(Command):
    """Replay the events into empty tables, without answers."""

    name = "datastore:rebuild"
    description = "Replay the events into empty tables, without answers"

    def __init__(self, app: Application, engine: Engine, rows: Rows, replay: Replay, zone: ZoneInfo) -> None:
        self._app = app
        self._engine = engine
        self._rows = rows
        self._replay = replay
        self._zone = zone

    def handle(
        self,
        since: Annotated[str | None, typer.Option("--from", help="Only events from this time on")] = None,
        empty: Annotated[bool, typer.Option("--empty", help="Delete the rows that are there first")] = False,
        force: Annotated[bool, typer.Option("--force", help="Do not ask in production")] = False,
    ) -> int:
        """Read the topic beside the worker's group, which stays where it is."""
        start = self._time(since)
        if not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        if not empty:
            self._check_room()
        # The topic first: brokers that are away must not cost the rows that are there.
        total, records = self._replay.open(start=start)
        if empty:
            self._make_room()
        outcomes = Counter(map(self._apply, self.output.progress(records, total, "events")))
        self.output.info(f"{outcomes[Outcome.HOLDS]} of {total} events were creates and updates that hold.")
        if outcomes[Outcome.UNREADABLE]:
            self.output.warn(f"{outcomes[Outcome.UNREADABLE]} events can't be read, and were passed over.")
        if outcomes[Outcome.PUT_ASIDE]:
            self.output.warn(
                f"{outcomes[Outcome.PUT_ASIDE]} creates and updates were passed over: their payloads had been put "
                f"aside (claim_check), and such files are deleted when their jobs are done."
            )
        return 0

    def _apply(self, record: Record) -> Outcome:
        try:
            envelope = read(record.value)
        except PayloadError:
            return Outcome.UNREADABLE
        job = REPLAYED.get(envelope.job.partition("@")[0])
        if job is None:
            is_ours = envelope.job == CLAIM_JOB and envelope.display_name in REPLAYED
            return Outcome.PUT_ASIDE if is_ours else Outcome.OTHER
        # Not the time of the replay: rows that are made twice must be the same.
        at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC) if 0 <= record.timestamp_ms <= LAST_MS else None
        holds = job.from_data(envelope.data).replay(self._rows, _key(record, envelope), at)
        return Outcome.HOLDS if holds else Outcome.OTHER

    def _check_room(self) -> None:
        for name, each in TABLES.items():
            if not self._rows.is_empty(each):
                raise ConsoleError(f"The table {name} has rows. Add --empty to delete what is there first.")

    def _make_room(self) -> None:
        with self._engine.begin() as connection:
            _check_others(connection)
            for each in TABLES.values():
                connection.execute(delete(each))

    def _time(self, since: str | None) -> datetime | None:
        if since is None:
            return None
        try:
            start = datetime.fromisoformat(since)
        except ValueError as error:
            raise ConsoleError(f"--from is a time such as 2026-11-24T12:00, not {since!r}.") from error
        return start if start.tzinfo else start.replace(tzinfo=self._zone)


def _check_others(connection: Connection) -> None:
    """See that nothing else refers to the rows, and would be deleted or changed with them by its ON DELETE."""
    there = inspect(connection)
    for name in sorted(set(there.get_table_names()) - set(TABLES)):
        for key in there.get_foreign_keys(name):
            if key["referred_table"] in TABLES and connection.scalar(_referring(name, key["constrained_columns"])):
                raise ConsoleError(
                    f"The table {name} has rows that refer to {key['referred_table']}, and no event brings them back. "
                    "Delete them first, or drop their foreign key; nothing was deleted."
                )


def _referring(name: str, columns: list[str]) -> Select[Any]:
    """Finds a row of a table that refers to another by these columns."""
    values: list[ColumnClause[Any]] = [column(each) for each in columns]
    return select(literal(1)).select_from(table(name)).where(*(value.is_not(None) for value in values)).limit(1)


def _key(record: Record, envelope: Envelope) -> str | None:
    """The key, or the payload's own id where there is none, as a worker has it; None for a key that is no text."""
    if not record.key:
        return envelope.own_id()
    try:
        return record.key.decode()
    except UnicodeDecodeError:
        return None
