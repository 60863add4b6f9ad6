"""Commands that take away more than they are told by name, in production."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Project

PROGRAM = """
import json, sys
from bootstrap.app import create_app

app = create_app()
print(json.dumps([app.run(words) for words in {words!r}]))
"""
ASKING = [
    ["queue:flush"],
    ["queue:flush", "--hours=1"],
    ["queue:prune-claims", "--hours=1"],
    ["migrate"],
    ["migrate:rollback"],
    ["datastore:rebuild", "--empty"],
]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The application in production, with a payload that was put aside long ago."""
    claims = tmp_path / "claims"
    environment = {"APP_ENV": "production", "KAFKA_BROKERS": "127.0.0.1:1", "KAFKA_CLAIM_CHECK": str(claims)}
    project = Project(tmp_path, environment=environment, jobs=None)
    claims.mkdir()
    (claims / ("a" * 32)).write_text("a payload")
    os.utime(claims / ("a" * 32), (time.time() - 59 * 86_400,) * 2)
    yield project
    project.close()


def codes(project: Project, words: list[list[str]]) -> tuple[list[int], str]:
    """The exit codes of commands, and what they wrote as errors."""
    done = project.python(PROGRAM.format(words=words))
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_a_command_that_takes_away_more_than_it_is_told_by_name_asks(project: Project) -> None:
    found, said = codes(project, ASKING)

    assert found == [1] * len(ASKING)
    assert said.count("Add --force to run this command") == len(ASKING)
    assert not (project.folder / "database/database.sqlite").exists()


def test_a_command_that_takes_away_what_nobody_needs_does_not_ask(project: Project) -> None:
    commands = [["migrate", "--force"], ["queue:prune-claims"], ["cache:clear"], ["cache:forget", "key"]]

    assert codes(project, commands) == ([0, 0, 0, 0], "")
