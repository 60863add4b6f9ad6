"""`datastore:rebuild`: makes the tables anew from the topic, which is the source of truth."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.Jobs.store_data import StoreData
from app.Jobs.update_data import UpdateData
from app.Services.event_job import EventJob
from app.Services.tables import TABLES
from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import ConsoleError, PayloadError
from lamplighter.kafka.replay import Record, Replay
from lamplighter.queue.payload import Envelope, read

REPLAYED: dict[str, type[EventJob]] = {job.name: job for job in (StoreData, UpdateData)}


class DatastoreRebuildCommand(Command):
    """Replay the events into empty tables, without answers."""

    name = "datastore:rebuild"
    description = "Replay the events into empty tables, without answers"

    def __init__(self, app: Application, databases: DatabaseManager, replay: Replay, zone: ZoneInfo) -> None:
        self._app = app
        self._databases = databases
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
        with self._databases.session() as session:
            if not empty:
                self._check_room(session)
            # The topic first: brokers that are away must not cost the rows that are there.
            total, records = self._replay.open(start=start)
            if empty:
                self._make_room(session)
            written = sum(self._apply(session, record) for record in self.output.progress(records, total, "events"))
        self.output.info(f"{written} of {total} events were creates and updates that hold.")
        return 0

    def _apply(self, session: Session, record: Record) -> bool:
        try:
            envelope = read(record.value)
        except PayloadError:
            return False
        job = REPLAYED.get(envelope.job.partition("@")[0])
        if job is None:
            return False
        # Not the time of the replay: rows that are made twice must be the same.
        at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC) if record.timestamp_ms >= 0 else None
        return job.from_data(envelope.data).replay(session, self._zone, _key(record, envelope), at)

    def _check_room(self, session: Session) -> None:
        for name, table in TABLES.items():
            if session.execute(table.select().limit(1)).first() is not None:
                raise ConsoleError(f"The table {name} has rows. Add --empty to delete what is there first.")
        session.rollback()

    def _make_room(self, session: Session) -> None:
        for table in TABLES.values():
            session.execute(delete(table))
        session.commit()

    def _time(self, since: str | None) -> datetime | None:
        if since is None:
            return None
        try:
            start = datetime.fromisoformat(since)
        except ValueError as error:
            raise ConsoleError(f"--from is a time such as 2026-11-24T12:00, not {since!r}.") from error
        return start if start.tzinfo else start.replace(tzinfo=self._zone)


def _key(record: Record, envelope: Envelope) -> str | None:
    """The key, or the payload's id where there is none, as a worker has it; None for a key that is no text."""
    if not record.key:
        return str(envelope.id or envelope.uuid or "")
    try:
        return record.key.decode()
    except UnicodeDecodeError:
        return None
