"""Where failed jobs are kept, with all that is needed to run them again."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
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
        """The message's own id, the same for each record of it."""
        return own_id(self.origin, self.timestamp_ms, self.payload)


@dataclass(frozen=True, slots=True)
class FailedJob:
    """One failed job; `payload`, `key` and `headers` are the message's own bytes, `failed_at` is UTC."""

    id: str
    connection: str
    queue: str
    name: str
    payload: bytes
    key: bytes | None
    headers: Headers
    origin: str | None
    exception: str
    failed_at: datetime


class FailedJobs(Protocol):
    """A store of failed jobs. What keeps it from working is raised, so that nothing is settled without it."""

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same; its id."""
        ...

    def all(self) -> Iterator[FailedJob]:
        """Every job, the newest first."""
        ...

    def ids(self) -> list[str]:
        """The ids of every job, the newest first; no payload is read for it."""
        ...

    def find(self, id: str) -> FailedJob | None:
        """One job."""
        ...

    def forget(self, id: str) -> bool:
        """Delete one job; whether there was one."""
        ...

    def flush(self, *, hours: float | None = None) -> int:
        """Delete all jobs, or those that failed at least so many hours ago; how many."""
        ...


class NullFailedJobs:
    """Keeps nothing, because config/queue.py says so; the log does."""

    def record(self, failure: Failure) -> str:
        """Say that the job is dropped."""
        log.error(
            "a failed job is dropped: queue.failed.driver is null",
            extra={"origin": failure.origin, "uuid": failure.uuid},
        )
        return failure.uuid or failure.origin

    def all(self) -> Iterator[FailedJob]:
        """There are none."""
        return iter(())

    def ids(self) -> list[str]:
        """There are none."""
        return []

    def find(self, id: str) -> FailedJob | None:
        """There are none."""
        return None

    def forget(self, id: str) -> bool:
        """There are none."""
        return False

    def flush(self, *, hours: float | None = None) -> int:
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
