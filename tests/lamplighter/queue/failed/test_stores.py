"""Which store config/queue.py asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import ConfigError
from lamplighter.queue.failed import FailedJobs, NullFailedJobs
from lamplighter.queue.failed.database import DatabaseFailedJobs
from lamplighter.queue.failed.file import FileFailedJobs
from lamplighter.queue.failed.stores import make_failed_jobs

Make = Callable[[dict[str, Any]], FailedJobs]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes the store of a section `failed`."""
    settings = Repository({"database": {"default": "test", "connections": {"test": {"driver": "sqlite"}}}})
    manager = DatabaseManager(settings, lambda path: tmp_path / path)
    return lambda section: make_failed_jobs(section, lambda: manager, lambda path: tmp_path / path)


@pytest.mark.parametrize(
    ("section", "has_numbers"),
    [
        ({}, False),
        ({"driver": ""}, False),
        ({"driver": "", "table": "failed_jobs"}, False),
        ({"driver": "database-uuids"}, False),
        ({"driver": "database"}, True),
        ({"table": "failed_jobs"}, True),  # as in Laravel before there were drivers
        ({"driver": "database-uuids", "path": "x.json", "limit": 3}, False),
    ],
)
def test_a_table_is_asked_for(make: Make, section: dict[str, Any], has_numbers: bool) -> None:
    store = make(section)

    assert isinstance(store, DatabaseFailedJobs)
    assert store.has_numbers == has_numbers


@pytest.mark.parametrize("section", [{"driver": "null"}, {"driver": None}, {"driver": None, "table": "failed_jobs"}])
def test_nothing_is_kept_only_where_that_is_said(make: Make, section: dict[str, Any]) -> None:
    assert isinstance(make(section), NullFailedJobs)


def test_a_file_lies_where_laravels_does_or_where_it_is_told(make: Make, tmp_path: Path) -> None:
    stores = [make({"driver": "file"}), make({"driver": "file", "path": "other.json", "limit": "7"})]

    assert all(isinstance(store, FileFailedJobs) for store in stores)
    assert [vars(store)["_path"] for store in stores] == [
        tmp_path / "storage/framework/cache/failed-jobs.json",
        tmp_path / "other.json",
    ]
    assert [vars(store)["_limit"] for store in stores] == [100, 7]


@pytest.mark.parametrize("section", [{"driver": "dynamodb"}, {"driver": "file", "limit": 0}, {"tabel": "x"}])
def test_what_is_not_known_is_refused(make: Make, section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="failed"):
        make(section)
