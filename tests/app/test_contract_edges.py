"""The edges of the Data Store's contract: what is checked first, what is repeated, and what counts as what."""

import json
from typing import Any

import pytest

from tests.app.conftest import DataStore

STORE, UPDATE, GET = "job.data.store", "job.data.update", "job.data.get"
PROVIDER = {"name": "Harbour Trust"}
PAIR = {"service_id": "s1", "taxonomy_id": "t1"}


def words(store: DataStore, *ids: str) -> None:
    """Rows of the simplest type."""
    for id in ids:
        store.send(STORE, {"type": "taxonomy", "values": {"name": "Food"}}, id)


# what is checked first ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("job", "data", "named"),
    [
        (GET, {"type": "x", "queryType": "x", "limit": "x"}, "type"),
        (GET, {"type": "provider", "queryType": "x", "limit": "x", "after": 5}, "queryType"),
        (GET, {"type": "provider", "limit": "x", "after": 5}, "limit"),
        (GET, {"type": "provider", "after": 5}, "after"),
        (STORE, {"type": "x", "values": "x"}, "type"),
        (UPDATE, {"type": "x", "id": "nobody", "values": "x"}, "type"),
        (UPDATE, {"type": "provider", "id": "nobody", "values": "x"}, "values"),
        (UPDATE, {"type": "provider", "values": {"published": "yes"}}, "published"),
    ],
)
def test_the_first_of_several_faults_is_told(store: DataStore, job: str, data: dict[str, Any], named: str) -> None:
    answer = store.send(job, data, "k1")

    assert answer.data["code"] == 422
    assert named in answer.data["message"].replace("Unknown type: there are", "type")


@pytest.mark.parametrize("key", ["k" * 37, b"\xff\xfe", "a\0b"])
@pytest.mark.parametrize(("kind", "values"), [("provider", PROVIDER), ("taxonomy_ref", PAIR)])
def test_a_create_needs_a_key_that_a_row_can_have(store: DataStore, key: Any, kind: str, values: Any) -> None:
    answer = store.send(STORE, {"type": kind, "values": values}, key)

    assert (answer.job, answer.data["code"], answer.data["data"]) == ("job.api.error", 422, None)
    assert "key" in answer.data["message"]
    assert answer.key == (key if isinstance(key, bytes) else key.encode())
    assert store.rows(kind) == []


@pytest.mark.parametrize("key", ["k" * 5000, b"\xff\xfe", "a\0b"])
def test_every_other_key_is_only_repeated(store: DataStore, key: Any) -> None:
    words(store, "t1")

    updated = store.send(UPDATE, {"type": "taxonomy", "id": "t1", "values": {"name": "Drink"}}, key)
    found = store.send(GET, {"type": "taxonomy", "queryType": "select", "id": "t1"}, key)

    assert (updated.data["code"], found.data["code"], found.data["data"]["name"]) == (200, 200, "Drink")
    assert updated.key == found.key == (key if isinstance(key, bytes) else key.encode())


@pytest.mark.parametrize(
    ("own", "id", "code"),
    [
        ({"id": "i", "uuid": "u"}, "i", 200),
        ({"id": None, "uuid": "u"}, "u", 200),
        ({"uuid": "u"}, "u", 200),
        ({"id": 0, "uuid": "u"}, "0", 200),
        ({"id": 2**64}, str(2**64), 200),
        ({"id": "", "uuid": "u"}, "", 422),
        ({"id": "\ud800", "uuid": "u"}, "\ud800", 422),
        ({}, "", 422),
    ],
)
@pytest.mark.parametrize("key", [None, b""])
def test_a_create_without_a_key_has_the_payloads_own_id(
    store: DataStore, key: bytes | None, own: dict[str, Any], id: str, code: int
) -> None:
    event = {"type": "taxonomy", "values": {"name": "Food"}}

    answer = store.receive(json.dumps({"job": STORE, "data": event, **own}).encode(), key)

    assert (answer.key, answer.data["id"], answer.data["code"]) == (None, id, code)
    assert [row["id"] for row in store.rows("taxonomy")] == ([id] if code == 200 else [])


# values ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("job", [STORE, UPDATE])
@pytest.mark.parametrize("values", ["text", 5, [1], None, True])
def test_values_of_another_shape_come_back_as_sent(store: DataStore, job: str, values: Any) -> None:
    answer = store.send(job, {"type": "provider", "id": "p1", "values": values}, "p1")

    assert (answer.job, answer.data["code"]) == ("job.api.error", 422)
    assert "values must be an object" in answer.data["message"]
    assert answer.data["data"] == {"code": 422, "message": answer.data["message"], "fields": values}


def test_phps_empty_object_misses_what_is_required(store: DataStore) -> None:
    answer = store.send(STORE, {"type": "contact", "values": []}, "c1")

    message = "Missing required fields: email; name"
    assert answer.data["message"] == message
    assert answer.data["data"] == {"code": 422, "message": message, "fields": []}


def test_the_empty_text_is_kept_where_nothing_is_required(store: DataStore) -> None:
    row = store.send(STORE, {"type": "provider", "values": {**PROVIDER, "description": "", "venue_id": ""}}, "p1").data

    assert (row["data"]["description"], row["data"]["venue_id"]) == ("", "")


@pytest.mark.parametrize("value", [-0.0, 0.0, 1e0, 0, 1, "true", "false"])
def test_numbers_are_booleans_by_their_value(store: DataStore, value: Any) -> None:
    row = store.send(STORE, {"type": "provider", "values": {**PROVIDER, "flagged": value}}, "p1").data["data"]

    assert row["flagged"] is (value in (1, "true"))
    assert store.rows("provider")[0]["flagged"] == row["flagged"]


@pytest.mark.parametrize("value", [-1, 0.5, 10**30, "TRUE", " 1", "1.0", [], {}, None])
def test_nothing_else_is_a_boolean_of_an_update(store: DataStore, value: Any) -> None:
    store.send(STORE, {"type": "provider", "values": PROVIDER}, "p1")

    answer = store.send(UPDATE, {"type": "provider", "id": "p1", "values": {"flagged": value}}, "p1")

    assert answer.data["code"] == 422
    assert answer.data["message"].startswith("flagged must")
    assert answer.data["data"]["fields"] == {"flagged": value}


@pytest.mark.parametrize(("limit", "text"), [(36, "venue_id"), (255, "name")])
def test_the_longest_text_is_stored_whole(store: DataStore, limit: int, text: str) -> None:
    longest = "\U0010ffff" * limit

    row = store.send(STORE, {"type": "provider", "values": {**PROVIDER, text: longest}}, "\U0010ffff" * 36).data["data"]

    assert row[text] == longest
    assert store.rows("provider")[0][text] == longest


@pytest.mark.parametrize(("field", "value"), [("service_id", "s" * 37), ("taxonomy_id", "a\0b"), ("service_id", 5)])
def test_a_pair_is_checked_as_every_text(store: DataStore, field: str, value: Any) -> None:
    answer = store.send(STORE, {"type": "taxonomy_ref", "values": {**PAIR, field: value}}, "k1")

    assert answer.data["code"] == 422
    assert field in answer.data["message"]


@pytest.mark.parametrize(
    ("job", "data"),
    [
        (UPDATE, {"id": "x", "values": {"service_id": 5}}),
        (GET, {"queryType": "select", "id": "x"}),
        (GET, {"queryType": "select"}),
    ],
)
def test_a_pair_is_neither_updated_nor_selected(store: DataStore, job: str, data: dict[str, Any]) -> None:
    store.send(STORE, {"type": "taxonomy_ref", "values": PAIR}, "k1")

    answer = store.send(job, {"type": "taxonomy_ref", **data}, "k1")

    assert (answer.job, answer.data["code"], answer.data["data"]) == ("job.api.error", 422, None)
    assert answer.data["id"] == data.get("id")


# pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limit", "count"), [({}, 50), ({"limit": None}, 50), ({"limit": 10.0}, 10), ({"limit": 1}, 1)]
)
def test_a_page_has_fifty_rows_or_its_limit(store: DataStore, limit: dict[str, Any], count: int) -> None:
    words(store, *(f"t{number:02}" for number in range(52)))

    rows = store.send(GET, {"type": "taxonomy", "after": None, **limit}, "k").data["data"]

    assert [row["id"] for row in rows] == [f"t{number:02}" for number in range(count)]


def test_a_limit_counts_by_its_value(store: DataStore) -> None:
    words(store, "t1")
    payload = {"type": "taxonomy", "limit": json.loads("1e2")}

    assert store.send(GET, payload, "k").data["code"] == 200
    assert store.send(GET, {**payload, "limit": 500}, "k").data["code"] == 200


@pytest.mark.parametrize("limit", [-0.0, False, 500.5, 10**30, 1e300])
def test_a_number_out_of_reach_is_no_limit(store: DataStore, limit: Any) -> None:
    answer = store.send(GET, {"type": "taxonomy", "limit": limit}, "k")

    assert answer.data["code"] == 422


@pytest.mark.parametrize(
    ("kind", "after"),
    [("taxonomy", "a\0b"), ("taxonomy", []), ("taxonomy_ref", []), ("taxonomy_ref", ["s", None]), ("taxonomy_ref", {})],
)
def test_an_after_that_is_no_key_is_refused_even_of_an_empty_table(store: DataStore, kind: str, after: Any) -> None:
    answer = store.send(GET, {"type": kind, "after": after}, "k")

    assert (answer.data["code"], answer.data["data"]) == (422, None)


# what would be too large ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_id_that_is_too_large_to_repeat_is_left_out(store: DataStore) -> None:
    store.queue.max_message_bytes = 2000

    answer = store.send(UPDATE, {"type": "provider", "id": "x" * 3000, "values": PROVIDER}, "k1")

    assert (answer.data["code"], answer.data["message"], answer.data["id"]) == (404, "Not found", None)


def test_a_type_that_is_too_large_to_repeat_is_left_out_alone(store: DataStore) -> None:
    store.queue.max_message_bytes = 2000

    answer = store.send(STORE, {"type": "x" * 3000, "values": PROVIDER}, "k1")

    assert (answer.data["code"], answer.data["type"], answer.data["id"]) == (422, None, "k1")


def test_a_query_that_is_too_large_to_repeat_is_left_out_of_an_error(store: DataStore) -> None:
    store.queue.max_message_bytes = 2000
    query = {"type": "provider", "queryType": "select", "id": "nobody", "note": "x" * 3000}

    answer = store.send(GET, query, "k1")

    assert (answer.data["code"], answer.data["query"], answer.data["id"]) == (404, None, "nobody")
