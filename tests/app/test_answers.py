"""Answers: each is written whatever its event held, says what the contract says, and fits into a message."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.Services.rows import Create
from app.Services.tables import TABLES, place_of
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import MessageTooLarge
from lamplighter.queue.jobs.payload import MAX_DEPTH, read
from tests.app.conftest import Answer, DataStore

STORE, UPDATE, GET = "job.data.store", "job.data.update", "job.data.get"
NOON = datetime(2026, 7, 15, 12, tzinfo=UTC)
HALF = "\ud83d"
PLACE = "\0"  # as unfit for a row as half of a surrogate pair, and JSON has always had a way to write it
LITERAL = "\\ud800"  # six letters, and no half of anything


@pytest.fixture
def frozen(databases: DatabaseManager) -> DataStore:
    """A Data Store whose clock stands still."""
    return DataStore(databases, at=NOON)


# only what can't be written is escaped ────────────────────────────────────────────────────────────────────────────────

letters = st.sampled_from([*'abuD\\"/ \n\x1f\x7f\u2028é😀', LITERAL, PLACE, PLACE])
texts = st.lists(letters, max_size=6).map("".join)
numbers = st.integers(-(10**40), 10**40) | st.floats(-1e14, 1e14).map(lambda number: round(number, 3))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["name", "description", "published", "venue_id", "email", "time", "id", "service_id"]) | texts
ids = st.sampled_from(["p1", "nobody"]) | texts | values
members = st.fixed_dictionaries(
    {"type": st.sampled_from([*TABLES, "provider", "taxonomy"]) | ids},
    optional={
        "id": ids,
        "values": st.dictionaries(fields, texts | values, max_size=4) | values,
        "queryType": st.sampled_from(["index", "select"]) | ids,
        "limit": st.integers(0, 600) | values,
        "after": ids,
    },
)
data_of_events = st.builds(lambda more, known: {**more, **known}, st.dictionaries(texts, values, max_size=2), members)
events = st.tuples(st.sampled_from([STORE, UPDATE, GET]), data_of_events | values)
keys = st.none() | st.binary(max_size=6) | st.sampled_from([b"p1", b"p2", b"k" * 40, "é".encode()])


def with_half(value: Any, half: str) -> Any:
    """A value with half of a surrogate pair in each place for one."""
    if isinstance(value, str):
        return value.replace(PLACE, half)
    if isinstance(value, list):
        return [with_half(each, half) for each in value]
    if isinstance(value, dict):
        return {with_half(key, half): with_half(each, half) for key, each in value.items()}
    return value


def check_as_sent(job: str, data: Any, answer: dict[str, Any]) -> None:
    """See that an answer repeats what the contract says it repeats."""
    sent = data if isinstance(data, dict) else {}
    assert answer["type"] == sent.get("type")
    if job == GET:
        kind = "index" if sent.get("queryType") is None else sent["queryType"]
        assert (answer["query"], answer["queryType"]) == (data, kind)
    if job == UPDATE or (job == GET and answer["queryType"] != "index"):
        assert answer["id"] == sent.get("id")
    if isinstance(answer["data"], dict) and "fields" in answer["data"]:
        assert answer["data"]["fields"] == sent.get("values")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(event=events, key=keys, id=texts, half=st.integers(0xD800, 0xDFFF).map(chr), fails=st.booleans())
def test_only_what_can_not_be_written_is_escaped_and_all_else_stays(
    frozen: DataStore, event: tuple[str, Any], key: bytes | None, id: str, half: str, fails: bool
) -> None:
    job, data = event
    assume(PLACE in id or "\\u0000" in json.dumps(data))
    send = frozen.fail if fails else frozen.send
    plain = send(job, data, key, id=id)
    sent = with_half(data, half)

    answer = send(job, sent, key, id=with_half(id, half))

    assert (answer.job, answer.key) == (plain.job, plain.key)
    assert answer.data == with_half(plain.data, half)
    assert answer.text == plain.text.replace(b"\\u0000", b"\\u%04x" % ord(half))
    check_as_sent(job, sent, answer.data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"type": "taxonomy", "id": HALF}, {"code": 200, "id": None, "queryType": "index"}),
        ({"type": "taxonomy", HALF: 1}, {"code": 200}),
        ({"type": "taxonomy", "queryType": "select", "id": "w1", "note": [HALF]}, {"code": 200, "id": "w1"}),
        ({"type": "taxonomy", "queryType": "select", "id": HALF}, {"code": 404, "id": HALF, "data": None}),
        ({"type": "taxonomy", "queryType": HALF, "id": "w1"}, {"code": 422, "queryType": HALF, "id": "w1"}),
        ({"type": HALF}, {"code": 422, "type": HALF, "queryType": "index"}),
        ({"type": "taxonomy", "after": HALF}, {"code": 422, "type": "taxonomy", "data": None}),
        (HALF, {"code": 422, "type": None, "data": None}),
    ],
)
def test_a_query_is_answered_beside_half_a_surrogate_pair(frozen: DataStore, data: Any, told: dict[str, Any]) -> None:
    frozen.send(STORE, {"type": "taxonomy", "values": {"name": "Food"}}, "w1")

    answer = frozen.send(GET, data)

    assert answer.data["query"] == data
    assert answer.data.items() >= told.items()
    assert b"\\ud83d" in answer.text


def test_a_pair_and_its_letters_are_no_halves(frozen: DataStore) -> None:
    query = {"type": "taxonomy", "pair": "😀", "letters": LITERAL, "half": HALF}

    answer = frozen.send(GET, query)

    written = rb'{"type":"taxonomy","pair":"%s","letters":"\\ud800","half":"\ud83d"}' % "😀".encode()
    assert answer.text.startswith(b'{"query":' + written)
    assert answer.data["query"] == query


def test_a_worker_reads_such_an_answer(frozen: DataStore) -> None:
    answer = frozen.send(UPDATE, {"type": "taxonomy", "id": HALF, "values": {"name": HALF}})

    assert read(answer.payload).data == answer.data
    assert (answer.data["id"], answer.data["data"]["fields"]) == (HALF, {"name": HALF})


@pytest.mark.parametrize("number", [2**63, -(2**70), 10**4000, 0.1, -0.0, 1e300, 5e-324])
def test_a_number_comes_back_with_its_value(frozen: DataStore, number: float) -> None:
    query = {"type": "taxonomy", "note": number, "half": HALF}

    answer = frozen.send(GET, query)

    assert answer.data["query"] == query


def test_of_two_members_with_one_name_the_last_is_taken(frozen: DataStore) -> None:
    payload = b'{"job":"job.data.get","id":"1","data":{"type":"x","note":1,"type":"taxonomy","note":"\\ud83d"}}'

    answer = frozen.receive(payload)

    assert answer.data["query"] == {"type": "taxonomy", "note": HALF}


# what is nested deeper in an answer than in its event ─────────────────────────────────────────────────────────────────


def nested(levels: int, inmost: Any) -> Any:
    """A list in a list in a list."""
    for _ in range(levels):
        inmost = [inmost]
    return inmost


@pytest.mark.parametrize("inmost", [1, HALF])
@pytest.mark.parametrize(("less", "is_null"), [(0, True), (1, False)])
def test_a_query_is_null_where_no_worker_would_read_it(
    frozen: DataStore, inmost: Any, less: int, is_null: bool
) -> None:
    frozen.send(STORE, {"type": "taxonomy", "values": {"name": "Food"}}, "w1")
    query = {"type": "taxonomy", "id": HALF, "note": nested(MAX_DEPTH - 2 - less, inmost)}

    answer = frozen.send(GET, query)

    assert (answer.data["code"], answer.data["type"], len(answer.data["data"])) == (200, "taxonomy", 1)
    assert answer.data["query"] == (None if is_null else query)


@pytest.mark.parametrize("job", [STORE, UPDATE])
@pytest.mark.parametrize(("less", "is_null"), [(0, True), (1, False)])
def test_fields_are_null_where_no_worker_would_read_them(frozen: DataStore, job: str, less: int, is_null: bool) -> None:
    fields = {"name": nested(MAX_DEPTH - 3 - less, HALF)}

    answer = frozen.send(job, {"type": "taxonomy", "id": HALF, "values": fields}, "w1")

    assert (answer.data["code"], answer.data["message"]) == (422, "name must be text")
    assert answer.data["id"] == ("w1" if job == STORE else HALF)
    assert answer.data["data"] == {**answer.data["data"], "code": 422, "fields": None if is_null else fields}


@pytest.mark.parametrize("member", ["type", "id", "queryType"])
def test_what_is_no_deeper_than_in_its_event_stays(frozen: DataStore, member: str) -> None:
    query = {"type": "taxonomy", "queryType": "select", "id": "x", member: nested(MAX_DEPTH - 2, HALF)}

    answer = frozen.send(GET, query)

    assert answer.data.items() >= {"query": None, **query, "code": 404 if member == "id" else 422}.items()


# what would be too large ──────────────────────────────────────────────────────────────────────────────────────────────


words = st.lists(st.sampled_from([*'aé😀"\\\n\x1f', "x" * 100, "\x01" * 50]), max_size=30).map("".join)
rows_of_options = st.dictionaries(st.text('aB_é😀"\\', min_size=1, max_size=3), words, min_size=1, max_size=12)
limits = st.none() | st.integers(1, 13)


def fill(store: DataStore, options: dict[str, str]) -> list[str]:
    """Have these rows, and no others; their ids in the order of pages."""
    table = TABLES["costoption"]
    with store.databases.engine().begin() as connection:
        connection.execute(table.delete())
    store.table_rows.create_many([Create(table, {"id": id}, {"option": option}) for id, option in options.items()])
    return sorted(options, key=str.encode)


def pages(store: DataStore, query: dict[str, Any], key: bytes | None) -> Iterator[Answer]:
    """The answers to a query and to what follows it, up to the page beyond the last row; each fits."""
    after = None
    while True:
        answer = store.send(GET, query if after is None else {**query, "after": after}, key)
        assert answer.size <= store.queue.max_message_bytes
        rows = answer.data["data"]
        yield answer
        if rows:
            after = rows[-1]["id"]
        elif answer.data["code"] == 500:
            after = json.loads(answer.data["message"].removeprefix("Server error: the row ").rpartition(" is too")[0])
        else:
            return


def size_of(row: dict[str, Any]) -> int:
    """How many bytes a row has in a page."""
    return len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    options=rows_of_options,
    limit=limits,
    most=st.integers(1000, 4000),
    key=st.sampled_from([None, b"k", b"\xff" * 30, "é\x01".encode() * 20]),
    note=st.sampled_from([None, HALF, "x" * 300, "x" * 3000]),
    tells=st.booleans(),
)
def test_every_row_arrives_once_and_no_page_is_smaller_than_it_must_be(
    frozen: DataStore,
    options: dict[str, str],
    limit: int | None,
    most: int,
    key: bytes | None,
    note: str | None,
    tells: bool,
) -> None:
    ids = fill(frozen, options)
    query = {"type": "costoption", "limit": limit, "note": note}
    frozen.queue.max_message_bytes, frozen.queue.tells = most, tells
    arrived: list[str] = []

    for answer in pages(frozen, query, key):
        rows = answer.data["data"] or []
        last = answer
        place = len(arrived)
        arrived += [row["id"] for row in rows] if answer.data["code"] == 200 else ids[place : place + 1]
        asked = query if place == 0 else {**query, "after": ids[place - 1]}
        left_out = 0 if answer.data["query"] == asked else size_of(asked) - len("null")
        if answer.data["code"] == 500:  # the next row is too large, by itself and without the query
            row = {"id": ids[place], "option": options[ids[place]], "type": "costoption"}
            envelope = answer.size - size_of(answer.data) + len('"job.api.data"') - len('"job.api.error"')
            head = {"query": None, "queryType": "index", "type": "costoption", "id": None, "error": False}
            assert envelope + size_of({**head, "code": 200, "message": "Found", "data": [row]}) > most
        else:
            assert answer.data["query"] in (asked, None)
            assert [row["option"] for row in rows] == [options[row["id"]] for row in rows]
        if rows and left_out:  # not even the first row has fitted beside the query
            assert answer.size + left_out - sum(len(",") + size_of(row) for row in rows[1:]) > most
        if rows and len(rows) < (limit or 50) and len(arrived) < len(ids):
            following = {"id": ids[len(arrived)], "option": options[ids[len(arrived)]], "type": "costoption"}
            assert answer.size + len(",") + size_of(following) > most

    assert arrived == ids
    assert (last.data["code"], last.data["data"]) == (200, [])


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("key", [None, b"key"])
def test_a_page_is_full_to_the_byte(frozen: DataStore, key: bytes | None) -> None:
    ids = fill(frozen, dict.fromkeys("abc", "é" * 100))
    query = {"type": "costoption"}
    sizes = [frozen.send(GET, {**query, "limit": limit}, key).size for limit in (1, 2, 3)]
    # Without the text `,"limit":1` of the query.
    sizes = [size - len(',"limit":1') for size in sizes]

    for most in range(1000, sizes[-1] + 2):
        frozen.queue.max_message_bytes = most
        answer = frozen.send(GET, query, key)

        assert [row["id"] for row in answer.data["data"]] == ids[: sum(size <= most for size in sizes)]


def test_a_row_too_large_for_a_message_is_named_where_a_page_begins_with_it(frozen: DataStore) -> None:
    fill(frozen, {"a": "x" * 3000, "b": "Free"})
    frozen.queue.max_message_bytes = 1000

    answer = frozen.send(GET, {"type": "costoption"})
    rest = frozen.send(GET, {"type": "costoption", "after": "a"})

    told = 'Server error: the row "a" is too large for a message; the next page begins after it'
    assert (answer.job, answer.data["code"], answer.data["message"]) == ("job.api.error", 500, told)
    assert (answer.data["id"], answer.data["data"]) == (None, None)
    assert [row["id"] for row in rest.data["data"]] == ["b"]


def test_a_pair_is_named_as_after_takes_it() -> None:
    assert place_of({"service_id": "s1", "taxonomy_id": "t1", "type": "taxonomy_ref"}) == ["s1", "t1"]


@pytest.mark.parametrize(
    ("job", "data", "null"),
    [
        (UPDATE, {"type": "provider", "id": "x" * 3000, "values": {"name": 5}}, {"id"}),
        (UPDATE, {"type": "provider", "id": "x", "values": {"name": "x" * 3000}}, {"fields"}),
        (UPDATE, {"type": "y" * 1500, "id": "x" * 2500, "values": {}}, {"id"}),
        (UPDATE, {"type": "y" * 2500, "id": "x" * 1500, "values": {}}, {"type"}),
        (UPDATE, {"type": "y" * 2800, "id": "x" * 2800, "values": {}}, {"type", "id"}),
        (STORE, {"type": "contact", "values": {"name": "x" * 3000}}, {"fields"}),
        (GET, {"type": "provider", "queryType": "select", "id": "x" * 1500}, {"query"}),
        (GET, {"type": "provider", "queryType": "x" * 3000, "id": "x"}, {"query", "queryType"}),
        (GET, {"type": "provider", "note": HALF, "limit": "x" * 3000}, {"query"}),
    ],
)
def test_only_the_largest_of_what_is_repeated_is_left_out(
    frozen: DataStore, job: str, data: dict[str, Any], null: set[str]
) -> None:
    frozen.queue.max_message_bytes = 3000

    answer = frozen.send(job, data, "k1").data

    sent = {**data, "query": data, "fields": data.get("values"), "queryType": data.get("queryType") or "index"}
    found = {**answer, **(answer["data"] or {})}
    repeated = {"type", "id", "fields"} if job != GET else {"query", "queryType", "type"}
    assert {name for name in repeated & found.keys() if found[name] is None} == null
    assert all(found[name] == sent[name] for name in (repeated & found.keys()) - null - {"id"})
    assert answer["code"] in (404, 422)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    event=events,
    padded=st.sampled_from(["type", "id", "values", "queryType", "after", "note"]),
    padding=st.integers(0, 4000),
    key=keys,
    most=st.integers(1000, 5000),
)
def test_an_answer_is_sent_however_little_a_message_holds(
    frozen: DataStore, event: tuple[str, Any], padded: str, padding: int, key: bytes | None, most: int
) -> None:
    job, data = event
    if isinstance(data, dict):
        data = {**data, padded: {"name": "x" * padding} if padded == "values" else HALF * (padding // 6)}
    frozen.queue.max_message_bytes = most

    answer = frozen.send(job, data, key)

    assert answer.size <= most
    assert (answer.key or b"", answer.data["code"] in (200, 404, 422, 500)) == (key or b"", True)


def test_a_422_names_all_that_is_wrong_in_the_least_message(frozen: DataStore) -> None:
    values = {column.name: HALF for column in TABLES["contact"].columns}
    frozen.queue.max_message_bytes = 1000

    answer = frozen.send(STORE, {"type": "contact", "values": values}, "k" * 36)

    assert (answer.data["code"], answer.data["message"].count("can't be stored")) == (422, 7)
    assert answer.data["data"] is None


def test_a_key_takes_its_room_once(frozen: DataStore) -> None:
    key = b"k" * 9000
    frozen.queue.max_message_bytes = 10_000

    created = frozen.send(STORE, {"type": "taxonomy", "values": {"name": "Food"}}, key)
    found = frozen.send(GET, {"type": "taxonomy"}, key)

    assert (created.key, created.data["code"], created.data["id"]) == (key, 422, None)
    assert (found.key, found.data["code"], found.data["query"]) == (key, 404, {"type": "taxonomy"})


def test_an_answer_that_no_message_holds_fails_its_own_job_alone(frozen: DataStore) -> None:
    frozen.queue.max_message_bytes = 2000
    event = {"type": "taxonomy", "values": {"name": "Food"}}

    call = frozen.call(STORE, (event, "a"), (event, "k" * 2000), (event, "b"))

    assert [answer.data["id"] for answer in frozen.queue.answers] == ["a", "b"]
    assert [type(error) for error in call.errors] == [type(None), MessageTooLarge, type(None)]


# many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    many=st.lists(st.tuples(data_of_events | values, keys), min_size=1, max_size=6),
    half=st.sampled_from("\ud800\udc00"),
)
def test_no_event_changes_the_answers_of_its_neighbours(
    frozen: DataStore, many: list[tuple[Any, bytes | None]], half: str
) -> None:
    sent = [(with_half(data, half), key) for data, key in many]
    with frozen.databases.engine().begin() as connection:
        for table in TABLES.values():
            connection.execute(table.delete())

    together = frozen.send_many(STORE, *sent)

    assert together == [frozen.send(STORE, data, key) for data, key in sent]


def test_events_that_are_all_refused_need_no_database(frozen: DataStore) -> None:
    frozen.databases.dispose()
    with frozen.databases.engine().begin() as connection:
        for table in TABLES.values():
            table.drop(connection)

    answers = frozen.send_many(STORE, ({"type": HALF}, "a"), ({"type": "taxonomy", "values": HALF}, "b"))

    assert [answer.data["code"] for answer in answers] == [422, 422]
