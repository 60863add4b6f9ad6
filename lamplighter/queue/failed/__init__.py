"""Where failed jobs are kept, with all that is needed to run them again."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lamplighter.contracts import Headers
from lamplighter.queue.failed.naming import own_id
from lamplighter.support.options import parse_options

if TYPE_CHECKING:
    from lamplighter.database.manager import DatabaseManager

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOptions:
    """config/queue.py's section `failed`."""

    driver: Literal["database", "database-uuids", "null"] | None = "database-uuids"
    database: str | None = None
    table: str = "failed_jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is told of a job that has failed; it was started `attempts` times."""

    connection: str
    queue: str
    payload: bytes
    error: BaseException
    uuid: str | None
    key: bytes | None
    headers: Headers
    origin: str
    timestamp_ms: int | None
    attempts: int = 0

    @property
    def identity(self) -> str:
        """The message's own id, the same for each record of it: of this connection, this queue and this position."""
        return own_id(self.connection, self.queue, self.origin, self.timestamp_ms, self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRecord:
    """A record of a failed job as it was read, without its message; `failed_at` is UTC.

    Attributes:
        version: what tells this record from any later one, whatever that is called; only its store reads it.
    """

    id: str
    connection: str
    queue: str
    origin: str | None
    failed_at: datetime
    version: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob(FailedRecord):
    """A failed job with its message; `payload`, `key` and `headers` are the message's own bytes.

    Attributes:
        fault: why it can't be retried, where others have changed what is kept of it.
    """

    name: str
    payload: bytes
    key: bytes | None
    headers: Headers
    exception: str
    fault: str = ""

    def without_message(self) -> FailedRecord:
        """Its record alone, which takes little memory."""
        return FailedRecord(
            id=self.id,
            connection=self.connection,
            queue=self.queue,
            origin=self.origin,
            failed_at=self.failed_at,
            version=self.version,
        )


class FailedJobs(Protocol):
    """A store of failed jobs. What keeps it from working is raised, so that nothing is settled without it.

    Two messages are two failed jobs where their connection, queue or position differ, whatever their payloads say. A
    record is deleted only as it was read: who deletes hands over what `records` gave.
    """

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same message; its id."""
        ...

    def records(self, *, ids: Sequence[str] | None = None, until: datetime | None = None) -> list[FailedRecord]:
        """Every record, the newest first; no message is read for it.

        Args:
            ids: only those with these ids, in this order.
            until: only of what had failed by then.
        """
        ...

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, in their order, but for those that are not there any more as they were read."""
        ...

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Delete these records where they are there as they were read; how many."""
        ...

    def all(self) -> Iterator[FailedJob]:
        """Every job that is there now, the newest first."""
        return self.read(self.records())

    def ids(self) -> list[str]:
        """The ids of every job, the newest first."""
        return [record.id for record in self.records()]

    def find(self, id: str) -> FailedJob | None:
        """One job."""
        return next(self.read(self.records(ids=[id])), None)

    def flush(self, *, hours: float | None = None) -> int:
        """Delete all jobs that are there now, or those that failed at least so many hours ago; how many."""
        until = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
        return self.forget(self.records(until=until))


class NullFailedJobs(FailedJobs):
    """Keeps nothing, because config/queue.py says so; the log does."""

    def record(self, failure: Failure) -> str:
        """Say that the job is dropped."""
        log.error(
            "a failed job is dropped: queue.failed.driver is null",
            extra={"origin": failure.origin, "uuid": failure.uuid},
        )
        return failure.uuid or failure.origin

    def records(self, *, ids: Sequence[str] | None = None, until: datetime | None = None) -> list[FailedRecord]:
        """There are none."""
        return []

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """There are none."""
        return iter(())

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """There are none."""
        return 0


def make_failed_jobs(settings: Mapping[str, Any], databases: Callable[[], "DatabaseManager"]) -> FailedJobs:
    """The store that config/queue.py names."""
    # A variable that is set to nothing asks for the default: only an explicit null may drop failed jobs.
    given = {key: value for key, value in settings.items() if value != ""}
    options = parse_options(FailedOptions, given, where="config/queue.py (failed)")
    if options.driver in (None, "null"):
        return NullFailedJobs()
    from lamplighter.queue.failed.database import DatabaseFailedJobs

    return DatabaseFailedJobs(databases(), database=options.database, table=options.table)
