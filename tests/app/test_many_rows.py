"""Many creates in one call: the same answers as one by one, in one transaction."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tests.app.conftest import DataStore

STORE = "job.data.store"


def provider(**values: Any) -> dict[str, Any]:
    """A create of a provider."""
    return {"type": "provider", "values": {"name": "Harbour Trust", **values}}


def word(name: str) -> dict[str, Any]:
    """A create of a taxonomy."""
    return {"type": "taxonomy", "values": {"name": name}}


def pair(taxonomy: str) -> dict[str, Any]:
    """A create of a row that is only the pair of its ids."""
    return {"type": "taxonomy_ref", "values": {"service_id": "s1", "taxonomy_id": taxonomy}}


EVENTS: list[tuple[Any, bytes | str | None]] = [
    (provider(), "p1"),
    (word("Food"), "w1"),
    (provider(name=None), "p2"),
    (pair("w1"), "k1"),
    (provider(name="Other"), "p1"),
    ({"type": "nothing"}, "x"),
    ("no object", "x"),
    (pair("w1"), "k2"),
    (word("Shelter"), b"\xff"),
    (word("Shelter"), None),
    (word("Half \ud800"), "w3"),
    ({"type": "\ud800", "values": {}}, "x"),
    ({**word("Stray"), "note": "\ud800"}, "w4"),
]


def test_each_event_has_the_answer_that_it_would_have_alone(store: DataStore) -> None:
    many = store.send_many(STORE, *EVENTS)

    alone = [store.send(STORE, data, key) for data, key in EVENTS]

    assert many == alone
    assert [answer.data["code"] for answer in many] == [200, 200, 422, 200, 200, 422, 422, 200, 422, 200, 422, 422, 200]


def test_rows_are_as_those_that_came_alone(store: DataStore) -> None:
    for number, (data, key) in enumerate(EVENTS[:2]):
        store.send(STORE, data, f"alone-{number}")
        store.send_many(STORE, (data, key), (data, f"many-{number}"))

    for table in ("provider", "taxonomy"):
        first, *others = ({**row, "id": "", "created": "", "updated": ""} for row in store.rows(table))
        assert [row == first for row in others] == [True, True]


def test_what_is_there_already_is_answered_as_it_is_now(store: DataStore) -> None:
    store.send(STORE, provider(name="First"), "p1")

    answers = store.send_many(STORE, (provider(name="Second"), "p1"), (provider(name="Third"), "p3"))

    assert [answer.data["data"]["name"] for answer in answers] == ["First", "Third"]


def test_a_call_that_fails_writes_nothing_and_answers_nothing(store: DataStore) -> None:
    with store.databases.engine().begin() as connection:
        connection.execute(text("DROP TABLE taxonomy"))

    with pytest.raises(SQLAlchemyError):
        store.send_many(STORE, (provider(), "p1"), (word("Food"), "w1"))

    assert store.rows("provider") == []
    assert store.queue.answers == []
