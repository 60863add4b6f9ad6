"""The Data Store's contract: events in, rows and answers out."""

import re
from datetime import datetime
from typing import Any

import pytest

from tests.app.conftest import DataStore

STORE, UPDATE, GET = "job.data.store", "job.data.update", "job.data.get"
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

VALUES: dict[str, dict[str, Any]] = {
    "provider": {"name": "Harbour Trust", "description": "Tea", "published": True},
    "service": {"name": "Tea afternoon", "provider_id": "p1"},
    "contact": {"name": "Ines", "email": "ines@example.org"},
    "venue": {"service_id": "s1", "name": "Quay Hall", "address": "1 Quay Street", "details": "Ramp"},
    "event": {"details": "Cake", "time": "Mondays", "venue_id": "v1"},
    "taxonomy": {"name": "Food"},
    "taxonomy_ref": {"service_id": "s1", "taxonomy_id": "t1"},
    "costoption": {"option": "Free"},
    "eligibility": {"eligibility": "Everyone"},
}
WITH_ID = sorted(set(VALUES) - {"taxonomy_ref"})


def create(store: DataStore, kind: str = "provider", key: str = "p1", **values: Any) -> Any:
    """A row of a type."""
    return store.send(STORE, {"type": kind, "values": {**VALUES[kind], **values}}, key)


# create ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_every_type_can_be_stored_and_is_answered_with_its_row(store: DataStore, kind: str) -> None:
    answer = create(store, kind, "k1")

    assert (answer.topic, answer.key, answer.job) == ("api", b"k1", "job.api.data")
    assert list(answer.data) == ["type", "id", "error", "code", "message", "data"]
    assert {name: answer.data[name] for name in ("type", "id", "error", "code", "message")} == {
        "type": kind,
        "id": "k1",
        "error": False,
        "code": 200,
        "message": "Found",
    }
    assert answer.data["data"].items() >= VALUES[kind].items()
    assert len(store.rows(kind)) == 1


def test_the_server_sets_id_and_times_and_wins(store: DataStore) -> None:
    row = create(store, id="mine", created="2001-01-01 00:00:00", updated="never", unknown=1).data["data"]

    assert row["id"] == "p1"
    assert STAMP.fullmatch(row["created"])
    assert row["created"] == row["updated"]
    assert datetime.fromisoformat(row["created"]).year >= 2026
    assert "unknown" not in row


def test_booleans_left_out_or_null_are_false_and_absent_values_null(store: DataStore) -> None:
    answer = store.send(STORE, {"type": "provider", "values": {"name": "N", "published": None}}, "p1")

    row = answer.data["data"]
    assert (row["published"], row["flagged"], row["description"], row["venue_id"]) == (False, False, None, None)


def test_a_redelivered_create_is_answered_with_the_row_as_it_is_now(store: DataStore) -> None:
    create(store)
    store.send(UPDATE, {"type": "provider", "id": "p1", "values": {"name": "Renamed"}}, "p1")

    answer = create(store, name="Third")

    assert (answer.job, answer.data["code"], answer.data["data"]["name"]) == ("job.api.data", 200, "Renamed")
    assert len(store.rows("provider")) == 1


def test_missing_fields_are_named_and_the_values_come_back(store: DataStore) -> None:
    values = {"name": "", "url": 7}

    answer = store.send(STORE, {"type": "contact", "values": values}, "c1")

    assert (answer.job, answer.data["error"], answer.data["code"]) == ("job.api.error", True, 422)
    assert answer.data["message"].startswith("Missing required fields: email; name")
    assert "url must be text" in answer.data["message"]
    assert answer.data["data"] == {"code": 422, "message": answer.data["message"], "fields": values}
    assert store.rows("contact") == []


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", 5, "text"),
        ("name", "x" * 256, "255"),
        ("name", "a\0b", "stored"),
        ("venue_id", "v" * 37, "36"),
        ("venue_id", ["v"], "text"),
        ("published", "yes", "true or false"),
        ("published", 2, "true or false"),
        ("published", "True", "true or false"),
        ("published", "", "true or false"),
        ("description", {"a": 1}, "text"),
    ],
)
def test_values_that_do_not_fit_are_refused(store: DataStore, field: str, value: Any, why: str) -> None:
    answer = create(store, **{field: value})

    assert answer.data["code"] == 422
    assert field in answer.data["message"]
    assert why in answer.data["message"]


def test_half_a_surrogate_pair_is_answered_naming_the_field(store: DataStore) -> None:
    answer = create(store, name="a\ud800b")

    assert (answer.data["code"], store.rows("provider")) == (422, [])
    assert "name" in answer.data["message"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [(True, True), (1, True), ("1", True), ("true", True), (1.0, True), (False, False), (0, False), ("0", False)],
)
def test_booleans_are_taken_as_forms_send_them(store: DataStore, value: Any, kept: bool) -> None:
    assert create(store, published=value).data["data"]["published"] is kept


@pytest.mark.parametrize("text", ["é" * 255, "😀" * 255, "  spaces  "])
def test_text_is_kept_as_sent_and_counted_in_code_points(store: DataStore, text: str) -> None:
    assert create(store, name=text).data["data"]["name"] == text


@pytest.mark.parametrize("key", ["k" * 37, "a\0b", b"\xff\xfe"])
def test_a_key_that_no_row_can_have_is_refused_last(store: DataStore, key: Any) -> None:
    answer = store.send(STORE, {"type": "provider", "values": VALUES["provider"]}, key)
    worse = store.send(STORE, {"type": "provider", "values": {}}, key)

    assert (answer.data["code"], answer.data["data"]) == (422, None)
    assert answer.data["id"] == (None if isinstance(key, bytes) else key)
    assert worse.data["message"].startswith("Missing required fields: name")


@pytest.mark.parametrize("key", [None, b""])
def test_without_a_key_the_payloads_id_is_the_rows_and_the_answer_has_none(store: DataStore, key: bytes | None) -> None:
    answer = store.send(STORE, {"type": "taxonomy", "values": {"name": "Food"}}, key, id="from-payload")

    assert (answer.key, answer.data["id"]) == (None, "from-payload")
    assert store.rows("taxonomy")[0]["id"] == "from-payload"


def test_the_same_pair_again_is_found(store: DataStore) -> None:
    create(store, "taxonomy_ref", "k1")

    answer = create(store, "taxonomy_ref", "k2")

    assert (answer.data["code"], answer.data["id"], answer.data["data"]) == (200, "k2", VALUES["taxonomy_ref"])
    assert len(store.rows("taxonomy_ref")) == 1


# update ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", WITH_ID)
def test_every_type_can_be_updated(store: DataStore, kind: str) -> None:
    create(store, kind, "k1")
    name = next(name for name, value in VALUES[kind].items() if isinstance(value, str))

    answer = store.send(UPDATE, {"type": kind, "id": "k1", "values": {name: "new"}}, "k9")

    assert (answer.job, answer.key, answer.data["id"], answer.data["code"]) == ("job.api.data", b"k9", "k1", 200)
    assert answer.data["data"] == {**answer.data["data"], **VALUES[kind], name: "new"}


def test_an_update_that_names_no_field_touches_nothing(store: DataStore) -> None:
    create(store)
    before = store.rows("provider")

    answer = store.send(UPDATE, {"type": "provider", "id": "p1", "values": []}, "p1")

    assert answer.data["code"] == 200
    assert store.rows("provider") == before


@pytest.mark.parametrize("id", ["nobody", None, 7, "x" * 40, "a\0b", ""])
def test_an_unknown_row_is_not_found(store: DataStore, id: Any) -> None:
    answer = store.send(UPDATE, {"type": "provider", "id": id, "values": {"name": "N"}}, "p1")

    assert (answer.job, answer.data["error"], answer.data["code"]) == ("job.api.error", True, 404)
    assert (answer.data["message"], answer.data["data"], answer.data["id"]) == ("Not found", None, id)


def test_wrong_values_are_told_before_an_unknown_row(store: DataStore) -> None:
    answer = store.send(UPDATE, {"type": "provider", "id": "nobody", "values": {"name": None}}, "p1")

    assert (answer.data["code"], answer.data["data"]["fields"]) == (422, {"name": None})


def test_an_update_may_empty_a_text_and_null_what_is_nullable(store: DataStore) -> None:
    create(store)

    answer = store.send(UPDATE, {"type": "provider", "id": "p1", "values": {"name": "", "description": None}}, "p1")

    assert (answer.data["data"]["name"], answer.data["data"]["description"]) == ("", None)


def test_a_pair_can_not_be_updated(store: DataStore) -> None:
    assert store.send(UPDATE, {"type": "taxonomy_ref", "id": "x", "values": {}}, "k").data["code"] == 422


# get ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", WITH_ID)
def test_every_type_can_be_selected(store: DataStore, kind: str) -> None:
    create(store, kind, "k1")
    query = {"type": kind, "queryType": "select", "id": "k1"}

    answer = store.send(GET, query, "k2")

    assert list(answer.data) == ["query", "queryType", "type", "id", "error", "code", "message", "data"]
    assert (answer.data["query"], answer.data["queryType"], answer.data["id"]) == (query, "select", "k1")
    assert answer.data["data"]["type"] == kind


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_an_index_without_rows_is_not_found(store: DataStore, kind: str) -> None:
    answer = store.send(GET, {"type": kind}, "k1")

    assert (answer.job, answer.data["code"], answer.data["data"]) == ("job.api.error", 404, [])
    assert (answer.data["queryType"], answer.data["id"]) == ("index", None)


def test_pages_follow_each_other_in_bytewise_order(store: DataStore) -> None:
    for key in ("b", "B", "a", "é", "Z", "_"):
        create(store, "taxonomy", key)

    first = store.send(GET, {"type": "taxonomy", "queryType": None, "limit": 4.0}, "k").data["data"]
    second = store.send(GET, {"type": "taxonomy", "limit": 4, "after": first[-1]["id"]}, "k").data["data"]
    beyond = store.send(GET, {"type": "taxonomy", "after": "zzz"}, "k").data
    past = store.send(GET, {"type": "taxonomy", "after": "\U0010ffff"}, "k").data

    assert [row["id"] for row in first + second] == ["B", "Z", "_", "a", "b", "é"]
    assert [row["id"] for row in beyond["data"]] == ["é"]
    assert (past["code"], past["data"]) == (200, [])


def test_pairs_are_paged_by_the_pair(store: DataStore) -> None:
    for number, (service, taxonomy) in enumerate([("s1", "t2"), ("s1", "t1"), ("s0", "t9")]):
        create(store, "taxonomy_ref", f"k{number}", service_id=service, taxonomy_id=taxonomy)

    found = store.send(GET, {"type": "taxonomy_ref", "after": ["s1", "t1"]}, "k").data["data"]

    assert found == [{"service_id": "s1", "taxonomy_id": "t2", "type": "taxonomy_ref"}]


@pytest.mark.parametrize("limit", [0, 501, -1, 1.5, "10", True, [], {}])
def test_a_limit_that_is_none_is_refused(store: DataStore, limit: Any) -> None:
    answer = store.send(GET, {"type": "provider", "limit": limit}, "k1")

    assert (answer.data["code"], answer.data["data"]) == (422, None)
    assert "limit" in answer.data["message"]


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("provider", ""),
        ("provider", 7),
        ("provider", "x" * 37),
        ("provider", ["a"]),
        ("taxonomy_ref", "s1"),
        ("taxonomy_ref", ["s1"]),
    ],
)
def test_an_after_that_no_row_can_have_is_refused(store: DataStore, kind: str, after: Any) -> None:
    assert store.send(GET, {"type": kind, "after": after}, "k1").data["code"] == 422


def test_a_select_does_not_look_at_limit_and_after(store: DataStore) -> None:
    create(store)

    assert (
        store.send(GET, {"type": "provider", "queryType": "select", "id": "p1", "limit": "x"}, "k").data["code"] == 200
    )


@pytest.mark.parametrize("id", ["nobody", None, 7])
def test_a_select_of_an_unknown_row_is_not_found(store: DataStore, id: Any) -> None:
    answer = store.send(GET, {"type": "provider", "queryType": "select", "id": id}, "k")

    assert (answer.job, answer.data["code"], answer.data["data"], answer.data["id"]) == ("job.api.error", 404, None, id)


def test_a_page_that_is_too_large_holds_fewer_rows(store: DataStore) -> None:
    for number in range(8):
        create(store, key=f"p{number}", description="x" * 1000)
    store.queue.max_message_bytes = 5000

    found = store.send(GET, {"type": "provider"}, "k").data["data"]
    rest = store.send(GET, {"type": "provider", "after": found[-1]["id"]}, "k").data["data"]

    assert 0 < len(found) < 8
    assert rest[0]["id"] == f"p{len(found)}"


def test_a_row_that_is_too_large_to_answer_is_an_error_and_stays(store: DataStore) -> None:
    store.queue.max_message_bytes = 2000

    answer = create(store, description="x" * 3000)

    assert (answer.job, answer.data["code"], answer.data["message"]) == ("job.api.error", 500, "Server error")
    assert len(store.rows("provider")) == 1


def test_what_was_sent_is_left_out_where_it_would_be_too_large(store: DataStore) -> None:
    store.queue.max_message_bytes = 2000
    big = "x" * 3000

    refused = store.send(STORE, {"type": "provider", "values": {"description": big}}, "p1")
    query = store.send(GET, {"type": "provider", "queryType": "nonsense", "note": big}, "p1")

    assert (refused.data["code"], refused.data["data"]["fields"]) == (422, None)
    assert (query.data["code"], query.data["query"]) == (422, None)


# what has another shape ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("job", [STORE, UPDATE, GET])
@pytest.mark.parametrize("data", [None, [], {}, "text", 7, [1], {"type": "nobody"}, {"type": "Provider"}, {"type": 1}])
def test_data_of_another_shape_and_unknown_types_are_refused_with_what_is_known(
    store: DataStore, job: str, data: Any
) -> None:
    answer = store.send(job, data, "k1")

    assert (answer.job, answer.data["error"], answer.data["code"], answer.data["data"]) == (
        "job.api.error",
        True,
        422,
        None,
    )
    assert "costoption" in answer.data["message"]
    assert answer.data["type"] == (data.get("type") if isinstance(data, dict) else None)


@pytest.mark.parametrize("kind", ["getById", "dispatch", 5, "", [], "Index"])
def test_an_unknown_query_type_is_refused_and_never_called(store: DataStore, kind: Any) -> None:
    answer = store.send(GET, {"type": "provider", "queryType": kind}, "k1")

    assert (answer.data["code"], answer.data["queryType"]) == (422, kind)
    assert "index, select" in answer.data["message"]


@pytest.mark.parametrize("values", ["text", 5, [1]])
def test_values_of_another_shape_are_refused(store: DataStore, values: Any) -> None:
    assert store.send(STORE, {"type": "provider", "values": values}, "k1").data["code"] == 422


@pytest.mark.parametrize(("job", "id"), [(STORE, "k1"), (UPDATE, "row"), (GET, None)])
def test_a_job_that_failed_for_good_is_told(store: DataStore, job: str, id: Any) -> None:
    answer = store.fail(job, {"type": "provider", "id": "row", "values": {}}, "k1")

    assert (answer.job, answer.data["error"], answer.data["code"], answer.data["message"]) == (
        "job.api.error",
        True,
        500,
        "Server error",
    )
    assert (answer.data["data"], answer.data["id"]) == (None, id)
