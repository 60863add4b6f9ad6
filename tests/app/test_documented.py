"""What docs/data-store.md says: its examples are run, its tables are those of the models."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, DateTime, String, Text

from app.Services.tables import TABLES
from app.Services.written import written
from lamplighter.database.manager import DatabaseManager
from tests.app.conftest import DataStore

PAGE = (Path(__file__).parents[2] / "docs/data-store.md").read_text()
BLOCK = re.compile(r"^```json (?P<name>\S+) ?(?P<key>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMN = re.compile(r"`(?P<name>\w+)(?P<may_be_null>\??)` (?P<kind>\w+)")


def blocks() -> Iterator[tuple[str, bytes | None, Any]]:
    """The name, the key and the content of each example."""
    for found in BLOCK.finditer(PAGE):
        yield found["name"], found["key"].encode() or None, json.loads(found["text"])


def test_each_example_is_answered_as_the_page_says(databases: DatabaseManager) -> None:
    store = DataStore(databases, at=datetime(2026, 7, 15, 12, tzinfo=UTC))
    events, answers = list(blocks())[::2], list(blocks())[1::2]

    assert len(events) == len(answers) >= 10
    for (name, key, data), (job, answered_key, told) in zip(events, answers, strict=True):
        answer = store.receive(json.dumps(data).encode(), key) if name == "payload" else store.send(name, data, key)
        assert (answer.job, answer.key, answer.text.decode()) == (job, answered_key, written(told).decode())


def test_every_block_is_an_example() -> None:
    assert len(list(blocks())) * 2 == PAGE.count("```")


@pytest.mark.parametrize("type", TABLES)
def test_the_columns_are_those_of_the_models(type: str) -> None:
    row = re.search(rf"^\| `{type}` \| (.*) \|$", PAGE, re.MULTILINE)

    assert row is not None
    assert [found.groups() for found in COLUMN.finditer(row[1])] == [
        (column.name, "?" if column.nullable else "", kind(column)) for column in TABLES[type].columns
    ]


def kind(column: Column[Any]) -> str:
    """The kind of a column in the page's words."""
    match column.type:
        case Text():
            return "text"
        case String(length=length):
            return str(length)
        case Boolean():
            return "boolean"
        case DateTime():
            return "time"
    raise AssertionError(column)
