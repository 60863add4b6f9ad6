"""Connections without a store, in a project as somebody would have it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Project

COMMANDS = '''
"""A command that defers jobs, and the provider that brings it."""

from lamplighter import Command, CommandEntry, Dispatcher, ServiceProvider


class DeferCommand(Command):
    """Defers three jobs."""

    name = "defer"
    description = "Defer three jobs"

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def handle(self, code: int = 0) -> int:
        for n in range(3):
            self._dispatcher.push("probe", {"n": n, "fail_until": n % 2}, connection="deferred")
        self.output.line("dispatched")
        return code


class Provider(ServiceProvider):
    """Brings the command."""

    def register(self) -> None:
        self.commands(CommandEntry("defer", "Defer three jobs", "commands:DeferCommand"))
'''


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with a database."""
    project = Project(tmp_path, environment={"QUEUE_CONNECTION": "sync", "DB_CONNECTION": "sqlite"})
    (tmp_path / "commands.py").write_text(COMMANDS)
    project.provide("commands:Provider")
    project.artisan("migrate", "--force")
    yield project
    project.close()


def test_what_a_command_defers_runs_at_its_end_and_failures_are_recorded(project: Project) -> None:
    done = project.artisan("defer")

    assert (done.returncode, done.stdout) == (0, "dispatched\n"), done.stderr
    assert [event["n"] for event in project.events("end")] == [0, 2]
    failed = project.artisan("queue:failed")
    assert "deferred@default" in failed.stdout, failed.stdout


def test_what_a_command_has_deferred_that_fails_is_dropped(project: Project) -> None:
    done = project.artisan("defer", "--code=3", check=False)

    assert done.returncode == 3
    assert project.events("start") == []
    assert "deferred jobs are dropped" in done.stderr
