"""Settings of delays that change while jobs wait, on a real Apache Kafka: what was accepted is served, or told of."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Broker, Project, stop, wait_for
from tests.kafka.test_delays_real import CLOCK, LATER, Delaying, kept_rows

pytestmark = pytest.mark.kafka

__all__ = ["CLOCK", "LATER"]


@pytest.fixture
def delaying(project: Project) -> Delaying:
    """A project whose long delays begin at once."""
    project.configure(delay_short=1)
    return Delaying(project)


def held(project: Project) -> list[dict[str, Any]]:
    """What `queue:delayed` lists."""
    jobs: list[dict[str, Any]] = json.loads(project.artisan("queue:delayed", "--json").stdout)["delayed_jobs"]
    return jobs


def counted(project: Project, topic: str) -> int:
    """What `queue:monitor` counts."""
    [row] = json.loads(project.artisan("queue:monitor", topic, "--json").stdout)
    return int(row["delayed"])


def test_rows_are_moved_and_shown_when_the_store_is_kafka(delaying: Delaying, topic: str) -> None:
    project = delaying.project
    delaying.create_topics()
    delaying.later(({"n": 1}, 8), ({"n": 2}, 3600), ({"n": 3}, 3600))
    project.configure(delay_store="kafka")
    delaying.create_topics()

    shown, count = held(project), counted(project, topic)
    row = next(one for one in shown if one["job_id"] == "3")
    project.artisan("queue:cancel", row["id"])
    worker = project.worker("-q")
    wait_for(lambda: 1 in project.numbers("end"), seconds=60, what="the end of the row's job")

    assert stop(worker) == 0
    assert ([one["job_id"] for one in shown], count) == (["1", "2", "3"], 3)
    assert [one["job_id"] for one in kept_rows(project)] == ["2"]
    assert "wait in the table, and delay_store is another" in project.log()


def test_long_delays_in_topics_are_moved_and_shown_when_the_store_is_the_database(
    delaying: Delaying, kafka: Broker, topic: str
) -> None:
    project = delaying.project
    project.configure(delay_store="kafka")
    delaying.create_topics()
    delaying.later(({"n": 1}, 1805), ({"n": 2}, 20 * 86_400))
    project.configure(delay_store="database")
    topics = project.artisan("kafka:topics").stdout

    shown, count = held(project), counted(project, topic)
    project.worker("-q", CLOCK_SHIFT="1790")
    wait_for(lambda: 1 in project.numbers("end"), seconds=60, what="the end of the job that waited in a long topic")

    assert ([one["job_id"] for one in shown], count) == (["1", "2"], 2)
    assert f"{topic}.delay.1800" in topics
    assert f"{topic}.delay.1800" in project.log()
    assert kafka.ends(f"{topic}.delay.1800") == {0: 1}
    assert [one["job_id"] for one in held(project)] == ["2"]


@pytest.mark.parametrize("setting", ["consumer_group_id", "delay_prefix"])
def test_what_waits_under_another_name_is_told(delaying: Delaying, topic: str, setting: str) -> None:
    project = delaying.project
    delaying.create_topics()
    delaying.later(({"n": 1}, 0.5), ({"n": 2}, 0.9))
    project.configure(**{setting: f"{topic}-new"})

    told = project.artisan("kafka:topics", "--create", check=False)
    listed = project.artisan("queue:delayed")

    assert f"2 delayed jobs wait in the topics {topic}.delay.*" in " ".join(told.stdout.split())
    assert f"jobs=2 delay_prefix={topic}.delay. consumer_group_id={topic}" in listed.stderr


def test_what_workers_of_another_application_serve_is_nobodys_stray(delaying: Delaying, topic: str) -> None:
    project = delaying.project
    project.configure(delay_short=900)
    delaying.create_topics()
    worker = project.worker("-q")
    delaying.warm_up()
    delaying.later(({"n": 1}, 600))
    project.configure(consumer_group_id=f"{topic}-new")

    beside = project.artisan("kafka:topics", "--create", check=False)
    stop(worker)

    assert "nobody serves" not in beside.stdout
    # Its mover is a static member: the group has it until its session ends.
    wait_for(lambda: "1 delayed job waits" in project.artisan("kafka:topics").stdout, what="the warning")


def test_rows_of_a_connection_that_is_gone_are_told(delaying: Delaying) -> None:
    project = delaying.project
    delaying.create_topics()
    delaying.later(({"n": 1}, 3600))
    with sqlite3.connect(project.environment["DB_DATABASE"]) as connection:
        connection.execute("UPDATE delayed_jobs SET connection = 'old'")

    project.worker("-q")

    wait_for(lambda: "a connection that is not configured" in project.log(), seconds=60, what="the warning")
    assert "of=old jobs=1" in project.log()


def test_without_a_database_nothing_is_looked_for_in_one(tmp_path: Path, kafka: Broker, topic: str) -> None:
    environment = {
        "KAFKA_BROKERS": kafka.address,
        "KAFKA_QUEUE": topic,
        "KAFKA_CONSUMER_GROUP_ID": topic,
        "DB_DATABASE": str(tmp_path / "none.sqlite"),
        "QUEUE_FAILED_DRIVER": "null",
    }
    project = Project(tmp_path, environment=environment)
    project.configure(delay_store="kafka")
    delaying = Delaying(project)
    delaying.create_topics()

    worker = project.worker("-q")
    delaying.warm_up()
    listed = held(project)

    assert (stop(worker), listed) == (0, [])
    assert not (tmp_path / "none.sqlite").exists()
    assert "WARNING" not in project.log()
    project.close()
