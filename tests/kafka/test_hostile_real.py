"""Bytes that somebody else has written, on a real Apache Kafka: nothing ends, nothing is lost, nothing goes astray."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from lamplighter.kafka.delays.tiers import HEADER
from lamplighter.kafka.headers import UNREADABLE
from tests.harness import Broker, Node, Project, free_ports, stop, wait_for
from tests.raw import RawHeaders, send_raw

pytestmark = pytest.mark.kafka

LATER = """
from bootstrap.app import create_app

create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch

dispatch(Probe(n={n}), delay=1)
"""


def failed_rows(project: Project) -> list[dict[str, Any]]:
    """The failed jobs as the table has them: key, bytes of the payload, headers, origin."""
    with sqlite3.connect(project.environment["DB_DATABASE"]) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT key, payload, payload_bytes, headers, origin, exception FROM failed_jobs")
        return [{**dict(row), "payload": row["payload_bytes"] or row["payload"].encode()} for row in rows]


def job(n: int, **data: object) -> bytes:
    """The payload of a probe."""
    return json.dumps({"displayName": "probe", "job": "probe", "data": {"n": n, **data}}).encode()


def runs_delayed(project: Project, n: int) -> None:
    """A job that is dispatched with a delay comes to its end."""
    done = project.python(LATER.format(n=n))
    assert done.returncode == 0, done.stderr
    wait_for(lambda: n in project.numbers("end"), seconds=60, what=f"the end of the delayed job {n}")


@pytest.mark.parametrize("pool", ["solo", "thread", "process"])
def test_a_job_with_a_header_whose_name_is_no_text_fails_or_runs_as_any_other(
    project: Project, kafka: Broker, pool: str
) -> None:
    letters, topic = kafka.topic("letters", partitions=1), kafka.topic(partitions=1)
    project.configure(dead_letter_topic=letters, queue=topic)
    headers: RawHeaders = [(b"trace", b"\xff"), (b"caf\xe9", b"Latin-1"), (b"\xff", b"another")]
    send_raw(kafka.address, topic, (b"0", job(0, fail_until=9), headers), *((b"%d" % n, job(n), []) for n in (1, 2)))

    worker = project.worker("--stop-when-empty", "--sleep=1", f"--pool={pool}")

    assert worker.wait(60) == 0
    assert sorted(project.numbers("end")) == [1, 2]
    [row] = failed_rows(project)
    assert row["payload"] == job(0, fail_until=9)
    assert [name for name, _ in json.loads(row["headers"])] == ["trace", f"{UNREADABLE}:caf\\xe9", UNREADABLE]
    [letter] = kafka.messages(letters)
    found: Any = letter.headers()
    assert found[:3] == [("trace", b"\xff"), (f"{UNREADABLE}:caf\\xe9", b"Latin-1"), (UNREADABLE, b"another")]
    assert project.log().count("names are no UTF-8") == 1


def test_no_record_of_a_delay_topic_ends_the_delays_or_goes_astray(project: Project, kafka: Broker, topic: str) -> None:
    letters = f"{topic}-letters"
    project.configure(dead_letter_topic=letters)
    project.artisan("kafka:topics", "--create")
    delays, now = f"{topic}.delay.1", int(time.time() * 1000)
    values = {
        "too many digits": b"1" + b"0" * 400 + b" 0 - " + topic.encode(),
        "in a thousand years": b"33000000000000 %d - %s" % (now, topic.encode()),
        "a wait of years": b"0 0 99999999999999 " + topic.encode(),
        "a topic of Kafka's": b"0 0 - __consumer_offsets",
        "the dead letters": b"0 0 - " + letters.encode(),
        "a delay topic": b"0 0 - " + delays.encode(),
    }
    poison = [(name.encode(), b"{}", [(HEADER.encode(), value)]) for name, value in values.items()]
    question = (b"a question that says something", b"{}", [(b"lamplighter-clock", b"")])
    names = (b"no text", b"{}", [(b"\xff", b"1"), (HEADER.encode(), b"0 0 - " + topic.encode())])
    for number in range(4):
        send_raw(kafka.address, delays, *poison, question, names, partition=number)
    large = Producer({"bootstrap.servers": kafka.address, "message.max.bytes": 2_000_000})
    large.produce(delays, b"x" * 1_040_000, b"large", 0, headers=[(HEADER, b"0 0 - " + topic.encode())])
    assert large.flush(20) == 0
    told = project.artisan("queue:delayed", "--json")
    worker = project.worker("-q")

    runs_delayed(project, 1)
    wait_for(lambda: len(failed_rows(project)) == 33, seconds=60, what="a failed job for each")
    assert project.artisan("queue:delayed", "--json").returncode == 0
    assert stop(worker) == 0
    worker = project.worker("-q")
    runs_delayed(project, 2)
    assert stop(worker) == 0

    # Nothing was held back by one that could not go on: a restart repeats none.
    assert project.numbers("end") == [1, 2]
    rows = failed_rows(project)
    assert len(rows) == 33
    kept = {row["key"].decode(): (row["payload"], row["headers"]) for row in rows}
    assert kept.keys() == {*values, "a question that says something", "no text", "large"}
    assert {payload for key, (payload, _) in kept.items() if key != "large"} == {b"{}"}
    assert len(kept["large"][0]) == 1_040_000
    assert all(json.loads(kept[name][1])[0][0] == HEADER for name in values)
    assert json.loads(kept["no text"][1])[0][0] == f"{UNREADABLE}:\\xff"
    assert sum(kafka.ends(letters).values()) == 33  # their own letters, and none that was forged
    assert len(json.loads(told.stdout)["delayed_jobs"]) == 33


@pytest.mark.slow
def test_a_name_in_a_record_makes_no_topic(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    node = Node(tmp_path_factory.mktemp("node"), free_ports(), options="auto.create.topics.enable=true")
    try:
        kafka, group = Broker(node.address), "astray"
        environment = {"KAFKA_BROKERS": node.address, "KAFKA_QUEUE": group, "KAFKA_CONSUMER_GROUP_ID": group}
        project = Project(tmp_path, environment={**environment, "DB_DATABASE": str(tmp_path / "database.sqlite")})
        project.artisan("migrate", "--force")
        project.artisan("kafka:topics", "--create")
        record = (b"key", b"{}", [(HEADER.encode(), b"0 0 - made-by-a-record")])
        send_raw(kafka.address, f"{group}.delay.1", record)
        project.worker("-q")
        wait_for(lambda: "can't be moved" in project.log(), seconds=60, what="the error line")

        runs_delayed(project, 1)
        project.close()
        topics = AdminClient({"bootstrap.servers": node.address}).list_topics(timeout=10).topics
        assert "made-by-a-record" not in topics
    finally:
        node("down")
