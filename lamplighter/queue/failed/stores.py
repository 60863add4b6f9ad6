"""Which store of failed jobs config/queue.py asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lamplighter.queue.failed import FailedJobs, NullFailedJobs
from lamplighter.support.options import parse_options

if TYPE_CHECKING:
    from lamplighter.database.manager import DatabaseManager

WHERE = "config/queue.py (failed)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOptions:
    """config/queue.py's section `failed`: `database` and `table` are of a database, `path` and `limit` of a file."""

    driver: Literal["database-uuids", "database", "file", "null"] | None = "database-uuids"
    database: str | None = None
    table: str = "failed_jobs"
    path: str = "storage/framework/cache/failed-jobs.json"
    limit: int = 100


def make_failed_jobs(
    settings: Mapping[str, Any], databases: Callable[[], "DatabaseManager"], path: Callable[[str], Path] = Path
) -> FailedJobs:
    """The store that config/queue.py names; `path` is where a path of the application lies.

    Raises:
        ConfigError: a key is wrong, or the connection of the database is not there.
    """
    options = parse_options(FailedOptions, _chosen(settings), where=WHERE)
    if options.driver in (None, "null"):
        return NullFailedJobs()
    if options.driver == "file":
        from lamplighter.queue.failed.file import FileFailedJobs

        return FileFailedJobs(path(options.path), limit=options.limit)
    from lamplighter.queue.failed.database import DatabaseFailedJobs

    has_numbers = options.driver == "database"
    return DatabaseFailedJobs(databases(), database=options.database, table=options.table, has_numbers=has_numbers)


def _chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with a driver.

    As in Laravel, a section of the years before drivers has a table alone, and ids that are numbers. A variable that is
    set to nothing asks for the default: unlike in Laravel, only an explicit null may drop failed jobs.
    """
    given = {key: value for key, value in settings.items() if value != ""}
    if "driver" not in settings and given.get("table") is not None:
        given["driver"] = "database"
    return given
