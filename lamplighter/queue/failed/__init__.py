"""Where failed jobs are kept, with all that is needed to run them again."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Protocol, TypeVar

from lamplighter.contracts import Headers
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.naming import own_id

T = TypeVar("T")

PAGE = 20  # jobs with their payloads in memory at a time
CHUNK = 500  # records without their payloads that are deleted at a time

log = logging.getLogger(__name__)


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
        """The message's own id, the same for each record of it: of this connection, this queue and this position.

        A store may count each start in the payload: a job that is recorded twice is one failed job all the same.
        """
        payload = without_attempts(self.payload)
        return own_id(self.connection, self.queue, self.origin, self.timestamp_ms, payload)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which failed jobs are meant: by default every one.

    Attributes:
        queue: only those of this queue, whatever their connection.
        until: only what had failed by then.
        numbers: only those whose ids are numbers in one of these ranges; both ends belong to it.
    """

    queue: str | None = None
    until: datetime | None = None
    numbers: tuple[tuple[int, int], ...] | None = None

    def has(self, record: FailedRecord) -> bool:
        """Whether a record is meant."""
        if self.queue is not None and record.queue != self.queue:
            return False
        if self.until is not None and record.failed_at > self.until:
            return False
        return self.numbers is None or (
            record.id.isdecimal() and any(first <= int(record.id) <= last for first, last in self.numbers)
        )


EVERY = Wanted()


class FailedJobs(Protocol):
    """A store of failed jobs. What keeps it from working is raised, so that nothing is settled without it.

    Two messages are two failed jobs where their connection, queue or position differ, whatever their payloads say. A
    record is deleted only as it was read: who deletes hands over what `records` gave.

    Attributes:
        has_numbers: the ids are numbers, which can be asked for in ranges.
        unkept: why nothing is kept here; empty for a store that keeps what it is given.
    """

    has_numbers: bool = False
    unkept: str = ""

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same message; its id."""
        ...

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """The records that are there when the first of them is asked for, the newest first; no message is read for it.

        Few of them are in memory at a time. What has failed since then comes before the first one, and is not among
        them.

        Args:
            wanted: only these; nothing of it is looked at where `ids` are given.
            ids: only those with these ids, in this order.
        """
        ...

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, in their order, but for those that are not there any more as they were read."""
        ...

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Delete these records where they are there as they were read; how many."""
        ...

    def all(self, wanted: Wanted = EVERY) -> Iterator[FailedJob]:
        """Every job that is there now, the newest first; few of them are in memory at a time."""
        for part in parts(self.records(wanted), PAGE):
            yield from self.read(part)

    def ids(self) -> list[str]:
        """The ids of every job, the newest first."""
        return [record.id for record in self.records()]

    def find(self, id: str) -> FailedJob | None:
        """One job."""
        return next(self.read([*self.records(ids=[id])]), None)

    def flush(self, *, hours: float | None = None) -> int:
        """Delete all jobs that are there now, or those that failed at least so many hours ago; how many."""
        until = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
        return self._delete(Wanted(until=until))

    def prune(self, before: datetime) -> int:
        """Delete the jobs that failed before then, some hundreds at a time; how many."""
        return self._delete(Wanted(until=before - datetime.resolution))

    def _delete(self, wanted: Wanted) -> int:
        return sum(self.forget(part) for part in parts(self.records(wanted), CHUNK))


class NullFailedJobs(FailedJobs):
    """Keeps nothing, because config/queue.py says so; the log does."""

    unkept = "config/queue.py has the driver null for failed jobs, so that none is kept"

    def record(self, failure: Failure) -> str:
        """Say that the job is dropped."""
        log.error(
            "a failed job is dropped: queue.failed.driver is null",
            extra={"origin": failure.origin, "uuid": failure.uuid},
        )
        return failure.uuid or failure.origin

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """There are none."""
        return iter(())

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """There are none."""
        return iter(())

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """There are none."""
        return 0


def parts(of: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many, the last one of what is left."""
    rest = iter(of)
    while part := list(islice(rest, size)):
        yield part
