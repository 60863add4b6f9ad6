"""A program that dispatches, as somebody would write it: which of its classes it may dispatch."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Project

JOBS = '''
"""Jobs of the application."""

from dataclasses import dataclass

from lamplighter.queue.jobs.job import Job


@dataclass(frozen=True)
class Letter(Job):
    """Runs here."""

    name = "letter"
    number: int

    def handle(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Abroad(Job):
    """Another application runs it."""

    name = "abroad"
    runs_elsewhere = True
    number: int
'''

PROGRAM = """
import json
import sys
from dataclasses import dataclass

from bootstrap.app import create_app
from lamplighter.foundation.shortcuts import app, dispatch
from lamplighter.queue.dispatching.dispatcher import Dispatcher
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry

application = create_app()


@dataclass(frozen=True)
class Provided(Job):
    name = "provided"
    number: int

    def handle(self) -> None:
        pass


def provide(registry, app):
    registry.register(Provided)
    return registry


application.bootstrap()
application.extend(Registry, provide)
app().make(Dispatcher)
told = {"imported before": "app.Jobs.probe" in sys.modules}
from app.Jobs.probe import Abroad, Letter


@dataclass(frozen=True)
class Own(Job):
    name = "own"
    number: int

    def handle(self) -> None:
        pass


def say(what, dispatched):
    try:
        told[what] = type(dispatched()).__name__
    except Exception as error:
        told[what] = f"{type(error).__name__}: {error}"


say("of app/Jobs", lambda: dispatch(Letter(1)))
say("of a provider", lambda: dispatch(Provided(1)))
say("elsewhere", lambda: dispatch(Abroad(1)))
say("elsewhere, wrong", lambda: dispatch(Abroad("one")))
say("own", lambda: dispatch(Own(1)))
say("name of another", lambda: app().make(Dispatcher).push("own", {"number": "one"}))
app().make(Registry).register(Own)
say("registered", lambda: dispatch(Own(1)))
say("name of its own", lambda: app().make(Dispatcher).push("own", {"number": "one"}))
told["registered"] = [told["registered"], app().make(Registry).names()]
print(json.dumps(told))
"""


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    """What the program has met."""
    project = Project(tmp_path, environment={"QUEUE_CONNECTION": "null"}, jobs=JOBS)
    done = project.python(PROGRAM)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_program_dispatches_what_the_application_has_declared(told: dict[str, Any]) -> None:
    assert told["imported before"] is False
    assert [told[what] for what in ("of app/Jobs", "of a provider", "elsewhere", "name of another")] == ["str"] * 4
    assert told["registered"] == ["str", ["letter", "own", "provided"]]
    assert told["elsewhere, wrong"].startswith("InvalidPayload: app.Jobs.probe.Abroad was not dispatched")
    assert told["own"].startswith("InvalidPayload: __main__.Own was not dispatched: no worker of this application")
    assert told["name of its own"].startswith("InvalidPayload: The string job 'own' was not dispatched")
