"""Dispatches that go on to the next connection, with brokers that are away and a worker that runs what arrives."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROBE_JOBS, Project

JOBS = '''

@dataclass(frozen=True)
class Parent(Job):
    """Dispatches others."""

    name = "parent"
    n: int = 0

    def handle(self, delivery: Delivery) -> None:
        from lamplighter import app, Dispatcher

        push = app().make(Dispatcher).push
        push("probe", {"n": self.n + 1}, connection="works")
        push("probe", {"n": self.n + 2}, connection="deferred")
        note("parent", n=self.n, connection=delivery.connection)
'''
CONNECTIONS = """
config["connections"]["deferred"] = {"driver": "deferred"}
config["connections"]["away"] = {"driver": "kafka", "brokers": "127.0.0.1:1", "queue": "far", "dispatch_timeout": 1}
config["connections"]["failover"] = {"driver": "failover", "connections": ["away", "works"], "break_for": 60}
config["connections"]["works"] = {"driver": "failover", "connections": ["kafka", "null"]}
"""
PROGRAM = """
import json, time
from bootstrap.app import create_app
from lamplighter import Dispatcher
from lamplighter.contracts import Events
from lamplighter.queue.dispatching.dispatcher import UNSET
from lamplighter.queue.events import QueueFailedOver
application = create_app().bootstrap()
told = []
application.make(Events).listen(QueueFailedOver, lambda event: told.append((event.connection, event.failed)))
dispatcher = application.make(Dispatcher)
took = []
for n in range(20):
    began = time.monotonic()
    dispatcher.push("probe", {"n": n}, connection="failover")
    took.append(time.monotonic() - began)
count = dispatcher.push_many((("probe", {"n": n}, UNSET) for n in range(20, 720)), connection="failover")
dispatcher.push("parent", {"n": 2000}, connection="failover")
print(json.dumps({"told": told, "count": count, "first": took[0], "others": sum(took[1:])}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on an embedded broker; other brokers are away."""
    project = Project(tmp_path, environment={"KAFKA_BROKERS": "embedded"}, jobs=PROBE_JOBS + JOBS)
    with (tmp_path / "config/queue.py").open("a") as file:
        file.write(CONNECTIONS)
    yield project
    project.close()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("pool", ["solo", "process"])
def test_an_outage_costs_one_timeout_and_each_job_runs_once(project: Project, pool: str) -> None:
    done = project.python(PROGRAM)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    work = project.artisan("queue:work", "works", "--stop-when-empty-for=1", f"--pool={pool}")

    assert (told["told"], told["count"]) == ([["failover", "away"]], 700)
    assert told["others"] < told["first"]
    assert sorted(project.numbers("end")) == [*range(720), 2001, 2002], work.stderr
    assert [event["connection"] for event in project.events("parent")] == ["kafka"]
