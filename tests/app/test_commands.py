"""The Data Store's commands: what a rebuild makes of a topic, and what is shown of the tables."""

import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.Console.Commands.datastore_rebuild import DatastoreRebuildCommand
from app.Console.Commands.datastore_show import DatastoreShowCommand
from app.Providers.data_store_service_provider import COMMANDS
from database.seeders.sample_events import sample_events
from lamplighter.console.kernel import Kernel
from lamplighter.console.options import GlobalOptions
from lamplighter.console.output import Output
from lamplighter.container import Container
from lamplighter.contracts import Application
from lamplighter.database.model import id_type
from lamplighter.errors import BrokerUnavailable, ConsoleError
from lamplighter.kafka.reading.replay import Record, Replay
from lamplighter.queue.jobs.payload import CLAIM_JOB
from lamplighter.support.provider import CommandTable
from tests.app.conftest import DataStore

LONDON = ZoneInfo("Europe/London")
STORE, UPDATE, GET = "job.data.store", "job.data.update", "job.data.get"
JULY = 1_784_116_800_000  # 2026-07-15 12:00 UTC, an hour later in London


def event(job: str, data: Any, key: bytes | None = b"t1", at: int = JULY, **envelope: Any) -> Record:
    """An event of the topic."""
    payload = {"displayName": job, "job": job, "maxTries": None, "timeout": None, "data": data, "id": "own", **envelope}
    return Record(key, json.dumps(payload).encode(), (), at, 0, 0)


def word(name: str) -> dict[str, Any]:
    """The data of a create."""
    return {"type": "taxonomy", "values": {"name": name}}


class Topic:
    """A topic that holds these events, or whose brokers are away."""

    def __init__(self, records: Sequence[Record], *, is_away: bool = False) -> None:
        self.records = records
        self.is_away = is_away
        self.start: datetime | None = None

    def open(self, *, start: datetime | None = None) -> tuple[int, Iterator[Record]]:
        """All of them."""
        self.start = start
        if self.is_away:
            raise BrokerUnavailable("away")
        return len(self.records), iter(self.records)


class Production:
    """An application in production."""

    environment = "production"


def rebuild(store: DataStore, topic: Topic, screen: io.StringIO | None = None, **options: Any) -> int:
    """Run the command."""
    command = DatastoreRebuildCommand(
        cast(Application, Production()), store.databases.engine(), store.table_rows, cast(Replay, topic), LONDON
    )
    command.output = Output(screen or io.StringIO())
    return command.handle(**{"force": True, **options})


def test_a_rebuild_makes_the_rows_and_answers_nothing(store: DataStore) -> None:
    topic = Topic(
        [
            event(STORE, word("first")),
            event(STORE, word("redelivered")),
            event(UPDATE, {"type": "taxonomy", "id": "t1", "values": {"name": "renamed"}}, b"other"),
            event(UPDATE, {"type": "taxonomy", "id": "nobody", "values": {"name": "x"}}),
            event(GET, {"type": "taxonomy"}),
            event(STORE, word("without a key"), None),
            event(STORE, {"type": "taxonomy", "values": {}}, b"t2"),
            event("somebody.elses", word("x"), b"t3"),
            Record(b"t4", b"no JSON", (), JULY, 0, 0),
            Record(b"t5", None, (), JULY, 0, 0),
        ]
    )

    status = rebuild(store, topic)

    assert status == 0
    assert sorted((row["id"], row["name"]) for row in store.rows("taxonomy")) == [
        ("own", "without a key"),
        ("t1", "renamed"),
    ]
    assert store.queue.answers == []


@pytest.mark.parametrize("key", [b"\xff\xfe", b"k" * 37, None])
def test_a_rebuild_refuses_the_keys_that_the_worker_refused(store: DataStore, key: bytes | None) -> None:
    topic = Topic([event(STORE, word("nameless"), key, id=None)])

    rebuild(store, topic)

    assert store.rows("taxonomy") == []


@pytest.mark.parametrize(
    ("own", "ids"), [({"id": 0}, ["0"]), ({"id": None, "uuid": "u"}, ["u"]), ({"id": "", "uuid": "u"}, [])]
)
def test_a_rebuild_gives_a_row_the_id_that_the_worker_gave_it(
    store: DataStore, own: dict[str, Any], ids: list[str]
) -> None:
    record = event(STORE, word("nameless"), None, **own)
    rebuild(store, Topic([record]))
    rebuilt = [row["id"] for row in store.rows("taxonomy")]

    store.receive(record.value or b"", None)

    assert (rebuilt, [row["id"] for row in store.rows("taxonomy")]) == (ids, ids)


def test_what_a_rebuild_passes_over_is_counted(store: DataStore) -> None:
    aside = event(CLAIM_JOB, None, displayName=STORE), event(CLAIM_JOB, None, displayName="somebody.elses")
    broken = Record(b"t4", b"no JSON", (), JULY, 0, 0), Record(b"t5", None, (), JULY, 0, 0)
    screen = io.StringIO()

    rebuild(store, Topic([event(STORE, word("first")), *aside, *broken]), screen)

    assert "1 of 5 events were creates and updates that hold." in screen.getvalue()
    assert "2 events can't be read, and were passed over." in screen.getvalue()
    assert "1 creates and updates were passed over: their payloads had been put aside" in screen.getvalue()


def test_a_rebuilt_row_has_the_times_of_its_events(store: DataStore) -> None:
    provider = {"type": "provider", "values": {"name": "Harbour"}}
    change = {"type": "provider", "id": "p1", "values": {"name": "Quay"}}
    topic = Topic([event(STORE, provider, b"p1"), event(UPDATE, change, b"p1", at=JULY + 90_500)])

    rebuild(store, topic)

    row = store.send(GET, {"type": "provider", "queryType": "select", "id": "p1"}).data["data"]
    assert (row["created"], row["updated"]) == ("2026-07-15 13:00:00", "2026-07-15 13:01:30")


def test_an_event_without_a_time_has_the_present(store: DataStore) -> None:
    rebuild(store, Topic([event(STORE, {"type": "provider", "values": {"name": "Harbour"}}, b"p1", at=-1)]))

    row = store.send(GET, {"type": "provider", "queryType": "select", "id": "p1"}).data["data"]
    assert datetime.fromisoformat(row["created"]) >= datetime(2026, 1, 1)


def test_tables_with_rows_are_emptied_only_when_asked(store: DataStore) -> None:
    store.send(STORE, word("old"), "old")
    topic = Topic([event(STORE, word("new"))])

    with pytest.raises(ConsoleError, match="taxonomy has rows"):
        rebuild(store, topic)
    before = [row["id"] for row in store.rows("taxonomy")]
    rebuild(store, topic, empty=True)

    assert (before, [row["id"] for row in store.rows("taxonomy")]) == (["old"], ["t1"])


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL", "NO ACTION"])
def test_rows_of_others_that_would_go_as_well_stop_an_emptying(store: DataStore, rule: str) -> None:
    store.send(STORE, word("old"), "old")
    kind = id_type().compile(dialect=store.databases.engine().dialect)
    with store.databases.engine().begin() as connection:
        connection.execute(
            text(
                f"CREATE TABLE uses (id INTEGER PRIMARY KEY, word {kind}, "
                f"FOREIGN KEY (word) REFERENCES taxonomy (id) ON DELETE {rule})"
            )
        )
        connection.execute(text("INSERT INTO uses VALUES (1, 'old'), (2, NULL)"))
    topic = Topic([event(STORE, word("new"))])

    with pytest.raises(ConsoleError, match="uses has rows that refer to taxonomy"):
        rebuild(store, topic, empty=True)

    assert [row["id"] for row in store.rows("taxonomy")] == ["old"]
    with store.databases.engine().begin() as connection:
        connection.execute(text("DELETE FROM uses WHERE word IS NOT NULL"))
    assert rebuild(store, topic, empty=True) == 0
    with store.databases.engine().begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM uses")) == 1
        connection.execute(text("DROP TABLE uses"))


def test_no_row_is_deleted_before_the_topic_can_be_read(store: DataStore) -> None:
    store.send(STORE, word("old"), "old")

    with pytest.raises(BrokerUnavailable):
        rebuild(store, Topic([], is_away=True), empty=True)

    assert [row["id"] for row in store.rows("taxonomy")] == ["old"]


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("2026-07-15T12:00", datetime(2026, 7, 15, 11, tzinfo=UTC)),
        ("2026-07-15 12:00:00+00:00", datetime(2026, 7, 15, 12, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_rebuild_begins_at_a_time_of_the_applications_zone(
    store: DataStore, since: str | None, start: datetime | None
) -> None:
    topic = Topic([])

    rebuild(store, topic, since=since)

    assert topic.start == start


def test_a_time_that_is_none_is_named(store: DataStore) -> None:
    with pytest.raises(ConsoleError, match=r"--from is a time such as .*'yesterday'"):
        rebuild(store, Topic([]), since="yesterday")


def test_production_is_rebuilt_by_force_alone(store: DataStore) -> None:
    topic = Topic([event(STORE, word("new"))])

    refused = rebuild(store, topic, force=False)

    assert (refused, store.rows("taxonomy")) == (1, [])


@pytest.mark.parametrize(("kind", "shown"), [("taxonomy", "Food"), (None, "1")])
def test_what_is_shown_waits_for_no_writer_and_stops_none(store: DataStore, kind: str | None, shown: str) -> None:
    store.send(STORE, word("Food"), "t1")
    screen = io.StringIO()
    with store.databases.session() as session, store.databases.engine().begin() as writer:
        command = DatastoreShowCommand(session)
        command.output = Output(screen)

        writer.execute(text("UPDATE taxonomy SET name = 'not committed'"))
        command.handle(kind)
        writer.execute(text("UPDATE taxonomy SET name = 'not committed either'"))

    assert shown in screen.getvalue()
    assert "not committed" not in screen.getvalue()


def test_what_others_wrote_is_shown_as_text(store: DataStore) -> None:
    store.send(STORE, word("a\nb\x1b[2J\u202e" + "é😀" * 20), "t1")
    screen = io.StringIO()
    with store.databases.session() as session:
        command = DatastoreShowCommand(session)
        command.output = Output(screen)
        command.handle("taxonomy")

    _, head, _, row, *rest = screen.getvalue().splitlines()
    assert len(rest) == 1
    assert r"a\nb\x1b[2J\u202eé😀é" in row
    assert len(row) == len(head)


@pytest.mark.parametrize("limit", ["0", "-1", str(2**63), "x"])
def test_a_limit_that_no_database_takes_is_named(
    store: DataStore, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    container, table = Container(), CommandTable()
    for entry in COMMANDS:
        table.add(entry)
    with store.databases.session() as session:
        container.instance(Session, session)

        status = Kernel(container, table).run(["datastore:show", f"--limit={limit}", "taxonomy"], GlobalOptions())

    assert status == 1
    assert "--limit" in capsys.readouterr().err


def test_each_sample_is_answered_as_it_is_meant(store: DataStore) -> None:
    answers = [(key, store.send(job, data, key).data) for job, data, key in sample_events()]

    assert [key for key, answer in answers if answer["code"] != 200] == ["refused"]
    assert answers[-1][1]["message"] == "Missing required fields: email"


def test_an_unknown_type_is_not_shown(store: DataStore) -> None:
    with store.databases.session() as session, pytest.raises(ConsoleError, match=r"no type 'failed_jobs'.*costoption"):
        DatastoreShowCommand(session).handle("failed_jobs")
