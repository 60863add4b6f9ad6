"""Workers whose queues operators pause, let go on, and clear."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Broker, Project, stop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def broker_of(project: Project) -> Broker:
    """The broker that the first command has started."""
    project.artisan("kafka:lag")
    address = json.loads((project.folder / "storage/framework/embedded-broker.json").read_text())["address"]
    return Broker(address)


def test_a_worker_leaves_a_paused_queue_alone_and_works_the_other_and_goes_on_at_once(project: Project) -> None:
    broker = broker_of(project)
    worker = project.worker("--queue=store,other")
    broker.jobs("store", {"n": 1})
    wait_for(lambda: project.numbers("end") == [1])

    project.artisan("queue:pause", "kafka:store")
    wait_for(lambda: "Queue store PAUSED" in project.log(), what="the worker sees it")
    broker.jobs("store", *({"n": n} for n in range(2, 12)))
    broker.jobs("other", {"n": 100})
    wait_for(lambda: 100 in project.numbers("end"))
    meanwhile = project.numbers("start")
    monitored = json.loads(project.artisan("queue:monitor", "store", "--json").stdout)
    project.artisan("queue:resume", "store")
    wait_for(lambda: len(project.numbers("end")) == 12, what="all jobs run")
    wait_for(lambda: "Queue store RESUMED" in project.log(), what="the line, which is written a moment later")

    assert meanwhile == [1, 100]
    assert [(row["pending"], row["paused"]) for row in monitored] == [(10, True)]
    assert stop(worker) == 0


def pending(project: Project) -> int:
    """The jobs of the queue that queue:monitor counts."""
    return int(json.loads(project.artisan("queue:monitor", "store", "--json").stdout)[0]["pending"])


@pytest.mark.parametrize("pool", [("--pool=thread", "-c2"), ("--pool=process", "-c2"), ("--pool=async", "-c2")])
def test_in_each_pool_what_is_in_hand_comes_to_its_end_and_nothing_more_begins(
    project: Project, pool: tuple[str, str]
) -> None:
    broker = broker_of(project)
    worker = project.worker(*pool)
    broker.jobs("store", *({"n": n, "sleep": 0.2} for n in range(200)))
    wait_for(lambda: project.numbers("start"))

    project.artisan("queue:pause", "--all")
    wait_for(lambda: "Queue store PAUSED" in project.log(), what="the worker sees it")
    wait_for(lambda: len(project.numbers("start")) == len(project.numbers("end")), what="what is in hand ends")
    begun = len(project.numbers("start"))
    # What has ended is committed within a second or two.
    wait_for(lambda: pending(project) == 200 - begun, what="the monitor counts what has not begun")
    last = len(project.numbers("start"))

    assert begun < 200
    assert last == begun
    assert stop(worker) == 0


def test_a_worker_that_is_to_stop_when_empty_leaves_a_paused_queue_with_that_reason(project: Project) -> None:
    broker_of(project).jobs("store", {"n": 1})
    project.artisan("queue:pause", "store")

    worker = project.worker("--stop-when-empty")

    assert worker.wait(30) == 0
    assert project.events() == []
    assert "worker stopping" in project.log()
    assert "reason=paused" in project.log()


@pytest.mark.parametrize(("paused_as", "worked"), [("database", "both"), ("both", "database")])
def test_a_worker_heeds_a_pause_under_the_other_name_of_its_queue(
    project: Project, paused_as: str, worked: str
) -> None:
    with (project.folder / "config/queue.py").open("a") as file:
        file.write('config["connections"]["both"] = {"driver": "failover", "connections": ["database"]}\n')
    project.artisan("queue:pause", f"{paused_as}:default")

    while_paused = project.artisan("queue:work", worked, "--stop-when-empty")
    project.artisan("queue:resume", f"{paused_as}:default")
    resumed = project.artisan("queue:work", worked, "--stop-when-empty")

    assert "reason=paused" in while_paused.stderr
    assert "reason=empty" in resumed.stderr


def test_a_queue_is_cleared_when_no_worker_is_there(project: Project) -> None:
    broker = broker_of(project)
    worker = project.worker("--pool=thread", "-c2")
    broker.jobs("store", *({"n": 1, "sleep": 5} for _ in range(2)))
    wait_for(lambda: project.numbers("start"))
    refused = project.artisan("queue:clear", "kafka", check=False)
    wait_for(lambda: len(project.numbers("end")) == 2)
    stop(worker)
    broker.jobs("store", *({"n": n} for n in range(2, 7)))

    cleared = project.artisan("queue:clear", "kafka")
    broker.jobs("store", {"n": 10})
    project.worker("--stop-when-empty").wait(30)

    assert refused.returncode == 1
    assert "Stop them" in refused.stderr
    assert "Cleared 5 jobs from the [store] queue." in cleared.stdout
    assert "Delayed jobs stay" in cleared.stdout
    assert project.numbers("end")[2:] == [10]
