"""SQLite's foreign keys while migrations run: off, so that a table can be made anew, and looked at before each commit.

SQLite can't change most of a table in place: alembic's batch makes it anew and drops the old one, which with foreign
keys on deletes, or nulls, all that refers to it. What is done here is https://www.sqlite.org/lang_altertable.html#otheralter.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, event

from lamplighter.database.sqlite import FOREIGN_KEYS_OFF

MISMATCH = "foreign key mismatch"  # what a table refers to is not there, or is no key


@dataclass(frozen=True, slots=True)
class Dangling:
    """A row of `child` that refers, by these values, to a row of `parent` which is not there.

    Without a parent none of the table's rows can be looked at, and the value is SQLite's word for it.
    """

    child: str
    parent: str | None
    values: tuple[str, ...]


class ForeignKeys:
    """Those of one connection, which has no transaction yet; they are on again when its pool has it back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection.execution_options(**FOREIGN_KEYS_OFF)
        self._before: list[Dangling] = []
        self._now: list[Dangling] = []
        event.listen(connection, "begin", _switch_off)

    def remember(self) -> None:
        """Look at what refers to nothing before a run."""
        self._before = self._now = list(_dangling(self._connection))

    def new(self) -> str:
        """What refers to nothing and did not before the run; empty where nothing does."""
        self._now = list(_dangling(self._connection))
        return _told(_new(self._before, self._now))

    def old(self) -> str:
        """What referred to nothing before the run, and did so when it was looked at last."""
        return _told(self._now)


def _switch_off(connection: Connection) -> None:
    # Before each BEGIN: a migration may have switched them on, and in a transaction they stay what they are.
    _driver(connection).execute("PRAGMA foreign_keys = OFF")


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _dangling(connection: Connection) -> Iterator[Dangling]:
    # By the driver's own connection: there may be a hundred thousand rows.
    driver = _driver(connection)
    for (child,) in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        try:
            found = driver.execute(f"PRAGMA foreign_key_check({_quoted(child)})").fetchall()
        except sqlite3.OperationalError as error:
            if MISMATCH not in str(error):
                raise
            yield Dangling(child, None, (str(error),))
            continue
        queries = _queries(driver, child) if found else {}
        for _, row, parent, number in found:
            # The rows of a table WITHOUT ROWID are counted only. As text: the type of a column may change.
            values = () if row is None else tuple(map(str, driver.execute(queries[number], (row,)).fetchone() or ()))
            yield Dangling(child, parent, values)


def _queries(driver: sqlite3.Connection, child: str) -> dict[int, str]:
    """What gives a row's values of each foreign key of a table, by the number that SQLite gives the key."""
    columns: dict[int, list[str]] = defaultdict(list)
    keys = driver.execute('SELECT id, "from" FROM pragma_foreign_key_list(?) ORDER BY seq', (child,))
    for number, column in keys.fetchall():
        columns[number].append(_quoted(column))
    return {id: f"SELECT {', '.join(names)} FROM {_quoted(child)} WHERE rowid = ?" for id, names in columns.items()}


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _new(before: list[Dangling], now: list[Dangling]) -> list[Dangling]:
    new, gone = Counter(now) - Counter(before), Counter(before) - Counter(now)
    # A table may have another name now: what refers to nothing by the same values is no news.
    renamed = Counter(each.values for each in gone.elements())
    found = []
    for each in new.elements():
        if renamed[each.values] > 0:
            renamed[each.values] -= 1
        else:
            found.append(each)
    return found


def _told(dangling: list[Dangling]) -> str:
    counts = Counter((each.child, each.parent or each.values[0]) for each in dangling)
    return "; ".join(
        text if text.startswith(MISMATCH) else f"{count} rows of {child} refer to rows of {text} that are not there"
        for (child, text), count in sorted(counts.items())
    )
