"""The driver `database` keeps what every connection promises, on each database."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lamplighter.database.manager import DatabaseManager
from lamplighter.foundation.application import Application
from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.testing.conformance import (
    Conformance,
    ProcessConformance,
    QueueConformance,
    StoreConformance,
    WorkerConformance,
)
from lamplighter.testing.project import Project
from tests.lamplighter.queue.drivers.database.conftest import MakeStore, end_others


class OwnProject(Project):
    """A project whose applications leave no connection to a database."""

    def application(self) -> Application:
        """One more application."""
        app = super().application()
        self._applications = [*getattr(self, "_applications", []), app]
        return app

    def close(self) -> None:
        """End all."""
        super().close()
        for app in getattr(self, "_applications", []):
            app.make(DatabaseManager).dispose()


class DatabaseConformance(Conformance):
    """A table of each test's own."""

    @pytest.fixture
    def config(self, table: str) -> Mapping[str, Any]:
        """The connection of config/queue.py."""
        return {"driver": "database", "connection": "tested", "table": table, "retry_after": self.lease}

    @pytest.fixture
    def project(self, tmp_path: Path, config: Mapping[str, Any], options: dict[str, Any]) -> Iterator[Project]:
        """A project with the database of the test beside its own."""
        own = {"driver": "sqlite", "database": "database/database.sqlite"}
        settings = {"default": "own", "connections": {"own": own, "tested": options}}
        files = {"config/database.py": f"config = {settings!r}\n"}
        project = OwnProject(tmp_path / "project", config, files=files)
        yield project
        project.close()


class TestStore(DatabaseConformance, StoreConformance):
    """What the engine asks of it."""

    @pytest.fixture
    def connect_store(self, make_store: MakeStore) -> Callable[[], JobStore]:
        """One more store with the table of the test."""
        return lambda: make_store(seconds=self.lease)

    @pytest.fixture
    def cut(self, databases: DatabaseManager, kind: str) -> Callable[[], object] | None:
        """End all connections to the server."""
        return None if kind == "sqlite" else lambda: end_others(databases, kind)


class TestQueue(DatabaseConformance, QueueConformance):
    """What a worker pops from."""


class TestWorkers(DatabaseConformance, WorkerConformance):
    """Workers of this process."""


@pytest.mark.slow
@pytest.mark.long
class TestProcesses(DatabaseConformance, ProcessConformance):
    """Workers that are processes."""
