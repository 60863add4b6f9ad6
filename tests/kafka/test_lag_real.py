"""`kafka:lag` against a real Apache Kafka."""

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.harness import Broker, Project, stop, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.any_version]

EMPTY = ("--stop-when-empty", "--sleep=1")


def lag_of(project: Project, *options: str) -> dict[str, Any]:
    """What the command says in JSON."""
    told: dict[str, Any] = json.loads(project.artisan("kafka:lag", "--json", *options).stdout)
    return told


def partition(told: dict[str, Any], number: int) -> dict[str, Any]:
    """One partition of it."""
    found: dict[str, Any] = next(one for one in told["partitions"] if one["partition"] == number)
    return found


def test_a_group_that_was_never_there_has_all_of_it_before_it(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, *({"n": n} for n in range(5)), partition=1)

    told = lag_of(project)

    assert (told["group"], told["state"], told["protocol"], told["members"]) == (topic, "dead", None, [])
    assert (told["lag"], told["left"], told["delayed"]) == (5, 5, {topic: 0})
    one = partition(told, 1)
    assert (one["committed"], one["end"], one["lag"], one["left"]) == (None, 5, 5, 5)
    assert one["blocking"]["offset"] == 0
    assert 0 <= one["blocking"]["age"] < 60
    assert partition(told, 0)["blocking"] is None
    assert one["left_cleanly"] is None


def test_what_is_done_beyond_a_waiting_job_is_told_with_its_due_time(
    project: Project, kafka: Broker, topic: str
) -> None:
    kafka.jobs(topic, {"n": 1, "fail_until": 1}, *({"n": n} for n in range(2, 8)), partition=0, maxTries=3)
    worker = project.worker("--backoff=55")
    wait_for(lambda: len(project.numbers("end")) == 6)
    wait_for(lambda: partition(lag_of(project), 0)["finished_beyond"] == 6, what="the commit")

    told = lag_of(project)
    one = partition(told, 0)
    assert (one["committed"], one["end"], one["lag"], one["left"], one["held"]) == (0, 7, 7, 1, 0)
    assert one["blocking"]["offset"] == 0
    [retry] = one["retries"]
    assert (retry["offset"], retry["retries"], retry["in_hand"]) == (0, 1, False)
    assert 0 < retry["due_ms"] / 1000 - time.time() <= 55
    assert told["state"] == "stable"
    [member] = told["members"]
    assert member["partitions"] == [f"{topic}[{number}]" for number in range(4)]
    assert (one["owner"], one["left_cleanly"]) == (member["id"], None)
    shown = project.artisan("kafka:lag").stdout
    assert f"{topic}[0]@0 was started 1 time: due in" in shown
    assert stop(worker) == 0


def test_how_the_last_owner_has_left_is_told(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1}, partition=0)
    assert project.worker(*EMPTY).wait(60) == 0

    clean = lag_of(project)
    kafka.jobs(topic, {"n": 2}, {"n": 3, "sleep": 60}, partition=0)
    killed = project.worker()
    wait_for(lambda: 3 in project.numbers("start"))
    wait_for(lambda: kafka.committed(topic, topic) == {0: 2})
    killed.kill()
    killed.wait(10)
    wait_for(lambda: lag_of(project)["members"] == [], what="the end of the killed one's session")
    unclean = lag_of(project)

    assert (clean["state"], clean["members"], clean["lag"]) == ("empty", [], 0)
    assert partition(clean, 0)["left_cleanly"] is True
    assert partition(unclean, 0)["left_cleanly"] is False
    assert partition(unclean, 0)["blocking"]["offset"] == 2
    assert "not left in order" in project.artisan("kafka:lag").stdout


def test_another_group_and_other_topics_can_be_named(project: Project, kafka: Broker, topic: str) -> None:
    other = kafka.topic(partitions=1)
    kafka.jobs(other, {"n": 1})
    kafka.jobs(topic, {"n": 1})

    told = lag_of(project, "--group=nobody", f"--topic={other},{topic}")

    assert told["group"] == "nobody"
    assert {one["topic"] for one in told["partitions"]} == {other, topic}
    assert told["lag"] == 2


def test_every_topic_that_the_group_works_is_shown(project: Project, kafka: Broker, topic: str) -> None:
    other = kafka.topic(partitions=1)
    kafka.jobs(other, {"n": 1})
    assert project.worker(f"--queue={other}", *EMPTY).wait(60) == 0

    told = lag_of(project)

    assert {one["topic"] for one in told["partitions"]} == {other, topic}


def test_a_queue_of_the_connection_that_nobody_made_hides_no_other(project: Project, kafka: Broker) -> None:
    other = kafka.topic(partitions=1)
    kafka.jobs(other, {"n": 1})
    assert project.worker(f"--queue={other}", *EMPTY).wait(60) == 0
    project.environment["KAFKA_QUEUE"] = "nobody-made-this"

    told = lag_of(project)

    assert [one["topic"] for one in told["partitions"]] == [other]


def test_markers_of_transactions_block_nothing(project: Project, kafka: Broker, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": topic})
    producer.init_transactions(20)
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.produce(topic, b'{"job":"probe","data":{"n":1}}', b"k", 0)
        producer.flush(10)
        end(20)
        if end == producer.commit_transaction:
            assert project.worker(*EMPTY).wait(60) == 0

    one = partition(lag_of(project), 0)

    assert (one["committed"], one["end"], one["lag"], one["blocking"]) == (2, 4, 2, None)


def test_what_an_open_transaction_holds_is_no_lag(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1}, partition=0)
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    for n in range(40):
        producer.produce(topic, b'{"job":"probe","data":{"n":%d}}' % n, b"k", 0)
    producer.flush(10)

    one = partition(lag_of(project), 0)
    shown = project.artisan("kafka:lag").stdout
    [monitored] = json.loads(project.artisan("queue:monitor", f"kafka:{topic}", "--json").stdout)
    producer.abort_transaction(20)

    held = f"{topic}[0]: held by an open transaction: nobody can read the 40 offsets from 1 on before it ends."
    assert (one["end"], one["lag"], one["left"], one["in_open_transaction"]) == (41, 1, 1, 40)
    assert held in shown
    assert (monitored["size"], monitored["notes"]) == (1, [held])


def test_one_that_reads_open_transactions_has_them_before_it(project: Project, kafka: Broker, topic: str) -> None:
    project.configure(consumer_options={"isolation.level": "read_uncommitted"})
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b'{"job":"probe","data":{"n":1}}', b"k", 0)
    producer.flush(10)

    one = partition(lag_of(project), 0)
    producer.abort_transaction(20)

    assert (one["lag"], one["in_open_transaction"]) == (1, 0)


def test_the_monitor_counts_what_the_lag_shows_as_left(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1, "fail_until": 1}, *({"n": n} for n in range(2, 41)), partition=0, maxTries=3)
    worker = project.worker("--backoff=55")
    wait_for(lambda: partition(lag_of(project), 0)["finished_beyond"] == 39, what="the commit")

    told = lag_of(project)
    [monitored] = json.loads(project.artisan("queue:monitor", f"kafka:{topic}", "--json").stdout)

    assert (told["lag"], told["left"], monitored["size"]) == (40, 1, 1)
    assert stop(worker) == 0


def test_a_log_that_was_trimmed_is_counted_from_where_it_begins(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 0}, partition=0)
    assert project.worker(*EMPTY).wait(60) == 0
    kafka.jobs(topic, *({"n": n} for n in range(1, 20)), partition=0)
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.delete_records([TopicPartition(topic, 0, 10)])[TopicPartition(topic, 0)].result(20)

    one = partition(lag_of(project), 0)

    assert (one["committed"], one["lag"], one["blocking"]["offset"]) == (1, 10, 10)


def test_a_missing_topic_and_brokers_that_are_away_are_told(project: Project) -> None:
    missing = project.artisan("kafka:lag", "--topic=no-such-topic", check=False)
    project.environment["KAFKA_BROKERS"] = "127.0.0.1:1"
    away = project.artisan("kafka:lag", check=False)

    assert (missing.returncode, away.returncode) == (1, 1)
    assert "kafka:topics --create" in missing.stderr
    assert "127.0.0.1:1" in away.stderr


def watch(project: Project) -> subprocess.Popen[str]:
    """A `kafka:lag --watch` that has just begun."""
    return subprocess.Popen(
        [sys.executable, "artisan.py", "kafka:lag", "--watch", "--every=0.2", "--json"],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_watching_goes_on_until_it_is_ended(project: Project, kafka: Broker, topic: str) -> None:
    watching = watch(project)
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    kafka.jobs(topic, {"n": 1}, partition=2)
    lags = (json.loads(line)["lag"] for line in watching.stdout)

    seen = next(lag for lag in lags if lag)
    watching.send_signal(signal.SIGTERM)

    assert (first["lag"], seen) == (0, 1)
    assert watching.wait(20) == 0
    watching.stdout.close()


def test_watching_ends_when_nobody_reads_any_more(project: Project) -> None:
    watching = watch(project)
    assert watching.stdout is not None
    watching.stdout.readline()

    watching.stdout.close()

    assert watching.wait(20) == 0
