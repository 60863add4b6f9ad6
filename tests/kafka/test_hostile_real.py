"""Bytes that somebody else has written, on a real Apache Kafka: nothing ends, nothing is lost, nothing goes astray."""

import json
import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from lamplighter.database.rows import load_headers
from lamplighter.kafka.delays.delayed_message import HEADER
from lamplighter.kafka.monitoring.counting import Counting
from lamplighter.kafka.monitoring.groups import GroupReader
from lamplighter.kafka.partitions.headers import UNREADABLE
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.queue.failed.attempts import without_attempts
from tests.harness import Broker, Node, Project, free_ports, stop, wait_for
from tests.raw import RawHeaders, RawProducer, commit_raw, send_raw

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


def headers_in(row: dict[str, Any]) -> list[tuple[str, bytes | None]]:
    """The headers of such a row; the names that stand for others have lost what is known of these."""
    found = load_headers(row["headers"])
    return [(UNREADABLE if name.startswith(UNREADABLE) else name, value) for name, value in found]


def named(name: bytes) -> str:
    """What becomes of the name of a header."""
    try:
        return name.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        return UNREADABLE


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


class Random(random.Random):
    """Chance as somebody who writes to topics: any bytes, and bytes that are nearly ours."""

    def raw(self, most: int = 40) -> bytes:
        """Any bytes."""
        return self.randbytes(self.randrange(most))

    def payload(self, n: int) -> bytes:
        """A job that runs, one whose fields are odd, or no job at all; each is another."""
        odd: list[Any] = [None, -1, 1e300, 10**30, "\ud800", "x" * 300, [], {}, True, "1,2"]
        envelope: dict[str, Any] = {"job": "probe", "displayName": "probe", "data": {"n": n}, "id": f"r-{n}"}
        for name in self.sample(["displayName", "uuid", "id", "attempts", "maxTries", "backoff", "timeout"], 2):
            envelope[name] = self.choice(odd)
        envelope["data"] = self.choice([envelope["data"], {"n": n, "\ud800": 1}, {"n": "x" * n}, [n], n])
        if self.random() < 0.5:
            return job(n)
        return self.choice([json.dumps(envelope).encode(), b"%d " % n + self.raw(), b'{"job":' * (600 + n)])

    def record(self, n: int, target: bytes) -> tuple[bytes | None, bytes, RawHeaders]:
        """A record with any key, and with headers of which some bear our names."""
        number = self.choice([b"0", b"-", b"1" + b"0" * 400, b"%d" % (time.time() * 1000 + 2000), self.raw(6)])
        delay = b" ".join([number, b"0", b"-", self.choice([target, self.raw(6) + b"/"])])
        names = [b"x-claim", b"lamplighter-clock", b"x-failed-version", b"x-failed-settled", b"x-failed-at", b"trace"]
        headers: list[tuple[bytes, bytes | None]] = [
            (self.choice([*names, self.raw(9)]), self.choice([None, self.raw(), b"1"]))
            for _ in range(self.randrange(5))
        ]
        if self.random() < 0.7:
            headers.insert(self.randrange(len(headers) + 1), (HEADER.encode(), delay))
        return self.choice([None, b"%d" % n, self.raw(9)]), self.payload(n), headers


@pytest.mark.parametrize("pool", ["solo", "process"])
def test_whatever_is_in_the_topics_everything_goes_on_and_nothing_is_lost(
    project: Project, kafka: Broker, topic: str, pool: str
) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "0")) or random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201
    chance, letters = Random(seed), f"{topic}-letters"
    project.configure(dead_letter_topic=letters, retry_in_place=1)
    project.artisan("kafka:topics", "--create")
    worker = project.worker("-q", "--tries=1", f"--pool={pool}")
    places = [topic, f"{topic}.delay.1", f"{topic}.delay.5", f"{topic}.delay.900"]
    records = [chance.record(n, topic.encode()) for n in range(300)]
    producer = RawProducer(kafka.address)
    for n, record in enumerate(records):
        producer.send(places[n % 4], *record, partition=chance.randrange(4))
    for n in range(100):
        producer.send(letters, *chance.record(1_000 + n, topic.encode()), partition=chance.randrange(4))
    producer.close()

    def settled() -> int:
        return len(failed_rows(project)) + len(project.numbers("end"))

    commands = (
        ["queue:delayed", "--json"],
        ["queue:failed", "--json"],
        ["kafka:lag", "--json"],
        ["queue:monitor", topic],
    )
    codes = {tuple(command): project.artisan(*command, check=False).returncode for command in commands}
    wait_for(lambda: settled() >= len(records), seconds=120, what="an end of each record")
    assert stop(worker) == 0

    assert codes == dict.fromkeys(codes, 0)
    rows = failed_rows(project)
    failed = {row["payload"] for row in rows}
    unfailed = {json.loads(value)["data"]["n"] for _, value, _ in records if value not in failed}
    assert failed <= {value for _, value, _ in records}
    assert sorted(project.numbers("end")) == sorted(unfailed)
    sent = {value: (key, [(named(name), content) for name, content in headers]) for key, value, headers in records[::4]}
    kept = [row for row in rows if row["payload"] in sent]
    assert [(row["key"], headers_in(row)) for row in kept] == [sent[row["payload"]] for row in kept]
    listed = json.loads(project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    assert len(listed) >= len(rows)
    project.artisan("queue:retry", "all", check=False, timeout=200)
    again = project.worker("-q", "--tries=1", "--stop-when-empty", f"--pool={pool}")
    assert again.wait(120) == 0
    # A retry counts anew, so that what failed for its count alone runs now.
    before, after = ([without_attempts(row["payload"]) for row in one] for one in (rows, failed_rows(project)))
    assert set(after) <= set(before)
    assert len(after) + len(project.numbers("end")) - len(unfailed) == len(before)


def test_what_another_client_has_committed_beside_its_offsets_ends_no_look(kafka: Broker) -> None:
    topic = kafka.topic(partitions=20)
    kafka.publish(topic, [(None, b"{}")] * 100)
    group, settings = topic, KafkaSettings(brokers=kafka.address, queue=topic, consumer_group_id=topic)
    offsets = dict.fromkeys(range(20), 0)
    counting, reader = Counting(settings, settings.client_config), GroupReader(settings, settings.client_config())
    found = set()

    for metadata in (b"x", b"caf\xe9", b"x" * 24, b"L2.\xff\xfe", b"L2." + b"A" * 40):
        wait_for(lambda: commit_raw(kafka.address, group, topic, offsets, metadata) == 0, what="the commit")  # noqa: B023
        for _ in range(4):
            found.add(counting.sizes(topic).pending)
            found.add(sum(lag.left for lag in reader.read([topic]).partitions))

    assert found == {100}
    reader.close()
