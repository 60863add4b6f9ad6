"""Rows, cached values and files of others: read, or passed over with an error of ours, and kept as they are."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import strategies as st
from sqlalchemy import text

from lamplighter.cache.repository import Cache
from lamplighter.cache.serialization import load
from lamplighter.cache.stores.file import FileStore
from lamplighter.cache.stores.redis import _load as load_redis
from lamplighter.config import Repository
from lamplighter.contracts import Headers, Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.database.rows import dump_headers, load_headers
from lamplighter.kafka.delays.instance_ids import HeldInstanceId
from lamplighter.kafka.delays.rows.table import DelayedJobs
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.lock import take
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.kafka.embedded.topics import TopicReaders
from lamplighter.queue.failed.database import DatabaseFailedJobs
from lamplighter.queue.guard.health import read_health
from lamplighter.queue.guard.health import started as started_at
from lamplighter.queue.guard.restart import EXACT, KEY, RestartSignal
from tests.lamplighter.hostile import (
    any_bytes,
    as_json,
    failure_of,
    fields,
    headers,
    hostile,
    integers,
    keys,
    payloads,
    scalars,
    start_of,
    texts,
    values,
)

MIGRATIONS = Path(__file__).parents[2] / "database/migrations"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of this module."""
    return tmp_path_factory.mktemp("hostile")


# rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseManager]:
    """A database with the tables of the skeleton."""
    path = tmp_path_factory.mktemp("database")
    options = {"driver": "sqlite", "database": str(path / "database.sqlite")}
    settings = Repository({"database": {"default": "test", "connections": {"test": options}}})
    manager = DatabaseManager(settings, lambda name: path / name)
    Migrator(manager.engine(), MIGRATIONS).migrate(lambda name, seconds: None)
    yield manager
    manager.dispose()


@hostile(headers("trace", values=any_bytes))
def test_headers_come_back_from_their_column(found: Headers) -> None:
    sendable = [(name, value) for name, value in found if "\0" not in name]

    assert list(load_headers(dump_headers(sendable))) == sendable


@hostile(st.one_of(texts, values.map(json.dumps), any_bytes.map(lambda data: data.decode("utf-8", "replace"))))
def test_a_column_of_headers_that_can_not_be_read_is_kept(column: str) -> None:
    found = load_headers(column)

    assert all(name.encode().decode() == name and "\0" not in name for name, _ in found)
    if any(name == "x-unreadable-headers" for name, _ in found):
        assert list(found) == [("x-unreadable-headers", column.encode("utf-8", "surrogatepass"))]


@hostile(payloads, keys, headers("trace", values=any_bytes))
def test_a_failed_job_comes_back_from_its_row(
    databases: DatabaseManager, payload: bytes, key: bytes | None, headers: Headers
) -> None:
    store = DatabaseFailedJobs(databases, database=None, table="failed_jobs")
    sendable = [(name, value) for name, value in headers if "\0" not in name]

    id = store.record(failure_of(*start_of(payload, key, sendable)))

    found = store.find(id)
    assert found is not None
    assert (found.payload, found.key, list(found.headers)) == (payload, key, sendable)
    json.dumps([found.id, found.name, found.exception], ensure_ascii=False).encode()
    store.flush()


@hostile(texts, st.one_of(texts, values.map(json.dumps)), texts)
def test_a_row_of_failed_jobs_that_others_wrote_is_shown(
    databases: DatabaseManager, payload: str, headers: str, exception: str
) -> None:
    row = {"payload": payload, "headers": headers, "exception": exception, "queue": exception, "uuid": "u-1"}
    given = {name: value.encode("utf-8", "replace").decode().replace("\0", "") for name, value in row.items()}
    query = text(
        "INSERT INTO failed_jobs (uuid, connection, queue, payload, exception, failed_at, headers) "
        "VALUES (:uuid, 'kafka', :queue, :payload, :exception, '2026-01-01 00:00:00', :headers)"
    )
    with databases.engine().begin() as connection:
        connection.execute(query, given)
    store = DatabaseFailedJobs(databases, database=None, table="failed_jobs")

    [found] = store.all()

    assert (found.payload.decode(), found.exception) == (given["payload"], given["exception"])
    assert found.name.isprintable()
    store.flush()


@hostile(payloads, keys, headers("trace", values=any_bytes), st.floats(0, 1e12))
def test_a_delayed_job_comes_back_from_its_row(
    databases: DatabaseManager, payload: bytes, key: bytes | None, headers: Headers, due: float
) -> None:
    table = DelayedJobs(databases, connection="kafka", database=None, table="delayed_jobs")
    sendable = [(name, value) for name, value in headers if "\0" not in name]

    id = table.put(Message(payload, key, sendable), "store", due)

    [found] = table.all()
    assert (found.id, found.message.payload, found.message.key) == (id, payload, key)
    assert list(found.message.headers) == sendable
    assert table.cancel(id, due) == 1


# caches and files ─────────────────────────────────────────────────────────────────────────────────────────────────────

serialized = st.one_of(
    texts,
    values.map(lambda value: "json:" + json.dumps(value)),
    texts.map(lambda digits: f"i:{digits};"),
    texts.map(lambda word: f's:{len(word)}:"{word}";'),
)


@hostile(serialized)
def test_a_value_of_a_cache_is_read_or_a_miss(value: str) -> None:
    load(value)
    load_redis(value.encode("utf-8", "surrogatepass"))
    load_redis(value)


@hostile(any_bytes, serialized, integers)
def test_a_file_of_the_cache_is_read_or_a_miss(folder: Path, found: bytes, value: str, until: int) -> None:
    store = FileStore(folder / "cache")
    store.put("key", 1, None)
    [file] = (path for path in (folder / "cache").rglob("*") if len(path.name) == 40)

    for content in (found, f"{until % 10**10:010d}{value}".encode("utf-8", "surrogatepass")):
        file.write_bytes(content)
        store.get("key")


@hostile(values)
def test_a_restart_signal_is_a_number_or_none(folder: Path, value: object) -> None:
    store = FileStore(folder / "restart")
    store.flush()
    store.put(KEY, 1, None)
    [file] = (path for path in (folder / "restart").rglob("*") if len(path.name) == 40)
    file.write_bytes(b"9999999999json:" + as_json(value))  # infinity too, which the cache itself refuses to keep
    signal = RestartSignal(Cache(store))

    before, broadcast = signal.read(), signal.broadcast()

    assert before is None or broadcast > before
    assert signal.read() == broadcast
    assert signal.read_exact() is not None


@pytest.mark.parametrize("value", ["nan", "-inf", "1e999", "soon", 7, None])
def test_the_exact_time_of_a_restart_is_a_number_or_none(tmp_path: Path, value: object) -> None:
    cache = Cache(FileStore(tmp_path))
    cache.forever(EXACT, value)

    assert RestartSignal(cache).read_exact() is None


ourselves = {"pid": os.getpid(), "started": started_at(psutil.Process())}


@hostile(
    st.one_of(
        any_bytes,
        fields(sure={"pid": scalars, "started": scalars, "connection": scalars, "queues": values, "ticks": values}),
        st.tuples(
            scalars,
            values,
            st.sampled_from(["beats", "ticks"]),
            st.fixed_dictionaries({"worker": scalars, "polling": scalars}),
        ).map(lambda one: as_json({**ourselves, "connection": one[0], "queues": one[1], one[2]: one[3]})),
    )
)
def test_a_heartbeat_is_read_or_removed(folder: Path, content: bytes) -> None:
    beats = folder / "beats"
    beats.mkdir(exist_ok=True)
    (beats / "1.json").write_bytes(content)

    found = read_health(beats)

    assert (beats / "1.json").exists() == bool(found)
    assert all(isinstance(health.late(1), list) for health in found)


@hostile(st.one_of(any_bytes, st.just(b"lamplighter-" + b"0" * 32)))
def test_a_movers_name_is_one_of_ours(folder: Path, content: bytes) -> None:
    file = folder / "name"
    file.write_bytes(content)
    name = HeldInstanceId(os.open(file, os.O_RDWR))

    assert name.text.startswith("lamplighter-")
    assert file.read_text() == name.text
    name.release()


# the files of the embedded broker ─────────────────────────────────────────────────────────────────────────────────────


@hostile(st.one_of(any_bytes, fields(sure={"pid": scalars, "address": scalars})))
def test_where_the_embedded_broker_is_can_be_read_or_there_is_none(folder: Path, content: bytes) -> None:
    place = folder / "embedded"
    place.mkdir(exist_ok=True)
    (place / "embedded-broker.json").write_bytes(content)
    descriptor = os.open(place / "embedded-broker.json", os.O_RDWR)
    take(descriptor)

    running = BrokerFolder(place).running()

    assert running is None or running.answers() in (False, True)
    os.close(descriptor)


@hostile(st.one_of(any_bytes, st.dictionaries(texts, scalars).map(as_json)))
def test_what_the_last_broker_held_is_a_count_by_topic(folder: Path, content: bytes) -> None:
    place = folder / "lost"
    place.mkdir(exist_ok=True)
    (place / "embedded-unread.json").write_bytes(content)

    assert all(isinstance(count, int) for count in BrokerFolder(place).unread().values())


@hostile(st.one_of(any_bytes, fields(sure={"groups": values, "others": values, "written": values, "kept": values})))
def test_who_reads_what_is_told_or_an_error(folder: Path, content: bytes) -> None:
    place = folder / "readers"
    (place / "embedded-readers").mkdir(parents=True, exist_ok=True)
    (place / "embedded-readers/1.json").write_bytes(content)

    with suppress(ValueError):
        assert isinstance(BrokerFolder(place).readers(), TopicReaders)


@hostile(
    st.one_of(
        any_bytes, st.dictionaries(st.just("store[0]"), st.one_of(values, st.lists(scalars, min_size=3))).map(as_json)
    )
)
def test_what_is_under_way_to_the_embedded_broker_is_a_number(folder: Path, content: bytes) -> None:
    (folder / "embedded-pushes.json").write_bytes(content)
    pushes = LargePushes(folder)

    assert pushes.under_way("store[0]", [(1, 100_000)]) >= 0
    pushes.add("store[0]", end=1, size=200_000)
    assert pushes.under_way("store[0]", [(1, 100_000)]) == 100_000
