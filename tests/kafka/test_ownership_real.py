"""Who owns a partition, and what its offsets look like, on a real Kafka."""

import json
import os
import signal
import time

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from tests.harness import Broker, Project, stop, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EMPTY = ("--stop-when-empty", "--sleep=1")


@pytest.fixture
def admin(kafka: Broker) -> AdminClient:
    """An administrator's client."""
    return AdminClient({"bootstrap.servers": kafka.address})


@pytest.mark.usefixtures("protocol")
def test_a_zombie_commits_nothing_over_the_new_owner(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, *({"n": n, "sleep": 0.05} for n in range(400)), partition=0)
    zombie = project.worker(log="zombie.log")
    wait_for(lambda: len(project.events("end")) >= 10)

    os.kill(zombie.pid, signal.SIGSTOP)
    heir = project.worker(log="heir.log")
    wait_for(lambda: any(line["pid"] == heir.pid for line in project.events("end")), what="the new owner's first job")
    seen = [kafka.committed(topic, topic).get(0, 0)]
    os.kill(zombie.pid, signal.SIGCONT)
    until = time.monotonic() + 60
    while seen[-1] < 400 and time.monotonic() < until:
        seen.append(kafka.committed(topic, topic).get(0, 0))

    assert seen[-1] == 400
    assert seen == sorted(seen)
    assert set(project.numbers("end")) == set(range(400))
    assert (stop(zombie), stop(heir)) == (0, 0)


@pytest.mark.usefixtures("protocol")
def test_a_job_longer_than_the_poll_interval_keeps_its_partition(project: Project, kafka: Broker, topic: str) -> None:
    project.configure(max_poll_interval=6.0)
    logs = ("worker.log", "other.log")
    worker, other = (project.worker(log=log) for log in logs)
    # A partition that moves takes its job in hand with it: the group has its order before.
    wait_for(lambda: all(f"{topic}[" in project.log(log) for log in logs), what="partitions for both")

    kafka.jobs(topic, {"n": 1, "sleep": 18}, {"n": 2}, partition=0)
    wait_for(lambda: 2 in project.numbers("end"), seconds=60)

    assert project.numbers("start") == [1, 2]
    assert (stop(worker), stop(other)) == (0, 0)
    assert kafka.committed(topic, topic) == {0: 2}


def test_transaction_markers_and_aborted_jobs_hold_nothing_up(project: Project, kafka: Broker, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": topic})
    producer.init_transactions(20)
    for n in range(6):
        producer.begin_transaction()
        producer.produce(topic, b'{"job":"probe","data":{"n":%d}}' % n, b"k", 0)
        producer.flush(10)
        producer.abort_transaction(20) if n % 3 == 1 else producer.commit_transaction(20)

    status = project.worker(*EMPTY).wait(60)
    project.worker(*EMPTY).wait(60)

    assert status == 0
    assert project.numbers("end") == [0, 2, 3, 5]
    # Behind the last record lies a marker, which nobody is ever given.
    assert kafka.committed(topic, topic) == {0: kafka.ends(topic)[0]}


@pytest.mark.parametrize("has_committed", [False, True], ids=["a new group", "an old group"])
def test_a_log_that_was_trimmed_goes_on_at_its_beginning(
    project: Project, kafka: Broker, topic: str, admin: AdminClient, has_committed: bool
) -> None:
    kafka.jobs(topic, *({"n": n} for n in range(5)), partition=0)
    if has_committed:
        project.worker("--once").wait(60)
    kafka.jobs(topic, *({"n": n} for n in range(5, 20)), partition=0)
    admin.delete_records([TopicPartition(topic, 0, 10)])[TopicPartition(topic, 0)].result(20)

    status = project.worker(*EMPTY).wait(60)

    assert status == 0, project.log()
    assert project.numbers("end") == [*([0] if has_committed else []), *range(10, 20)]
    assert kafka.committed(topic, topic) == {0: 20}


def test_latest_with_a_new_group_goes_on_committing(project: Project, kafka: Broker, topic: str) -> None:
    project.configure(auto_offset_reset="latest")
    kafka.jobs(topic, *({"n": n} for n in range(5)), partition=0)
    worker = project.worker()
    wait_for(lambda: kafka.committed(topic, topic) == {0: 5, 1: 0, 2: 0, 3: 0}, what="the commit of the ends")
    kafka.jobs(topic, {"n": 5}, partition=0)
    wait_for(lambda: project.numbers("end") == [5])
    worker.kill()
    worker.wait(10)
    # What comes while nobody is there, also where the first owner has met nothing, is not skipped.
    kafka.jobs(topic, {"n": 6}, partition=0)
    kafka.jobs(topic, {"n": 7}, partition=1)
    worker = project.worker()
    wait_for(lambda: set(project.numbers("end")) == {5, 6, 7})

    assert stop(worker) == 0
    assert kafka.committed(topic, topic) == {0: 7, 1: 1, 2: 0, 3: 0}


@pytest.mark.usefixtures("protocol")
def test_latest_skips_nothing_in_a_log_that_was_trimmed_nor_in_added_partitions(
    project: Project, kafka: Broker, topic: str, admin: AdminClient
) -> None:
    project.configure(auto_offset_reset="latest")
    kafka.jobs(topic, *({"n": n} for n in range(5)), partition=0)
    worker = project.worker()
    wait_for(lambda: kafka.committed(topic, topic) == {0: 5, 1: 0, 2: 0, 3: 0}, what="the commit of the ends")
    assert stop(worker) == 0
    kafka.jobs(topic, *({"n": n} for n in range(5, 20)), partition=0)
    admin.delete_records([TopicPartition(topic, 0, 10)])[TopicPartition(topic, 0)].result(20)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    wait_for(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 5)
    kafka.jobs(topic, {"n": 20}, partition=4)
    told = json.loads(project.artisan("kafka:lag", "--json").stdout)

    status = project.worker(*EMPTY).wait(60)

    assert status == 0, project.log()
    assert told["lag"] == 11
    assert sorted(project.numbers("end")) == list(range(10, 21))
    assert kafka.committed(topic, topic) == {0: 20, 1: 0, 2: 0, 3: 0, 4: 1}


def test_a_new_group_that_may_not_choose_where_to_begin_says_so(project: Project, kafka: Broker, topic: str) -> None:
    project.configure(auto_offset_reset="error")
    kafka.jobs(topic, {"n": 1}, partition=0)

    status = project.worker().wait(60)

    assert status == 1
    assert f"{topic}[" in project.log()
    assert "Set it to earliest or latest" in " ".join(project.log().split())
    assert not project.events("start")


@pytest.mark.usefixtures("protocol")
def test_partitions_that_are_added_are_worked_from_their_beginning(
    project: Project, kafka: Broker, topic: str, admin: AdminClient
) -> None:
    kafka.jobs(topic, {"n": 1}, partition=0)
    worker = project.worker()
    wait_for(lambda: project.numbers("end") == [1])

    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    wait_for(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 5)
    kafka.jobs(topic, {"n": 2}, partition=4)
    wait_for(lambda: project.numbers("end") == [1, 2], seconds=60)

    assert stop(worker) == 0
    assert kafka.committed(topic, topic) == {0: 1, 4: 1}


def test_a_topic_that_is_made_anew_is_worked_from_its_beginning(
    project: Project, kafka: Broker, topic: str, admin: AdminClient
) -> None:
    kafka.jobs(topic, *({"n": n} for n in range(20)), partition=0)
    worker = project.worker()
    wait_for(lambda: len(project.events("end")) == 20)
    wait_for(lambda: kafka.committed(topic, topic) == {0: 20})

    admin.delete_topics([topic])[topic].result(20)
    wait_for(lambda: "a topic is missing" in project.log(), seconds=60)
    admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(20)
    kafka.jobs(topic, *({"n": n} for n in range(100, 150)), partition=0)
    wait_for(lambda: set(range(100, 150)) <= set(project.numbers("end")), seconds=60)
    wait_for(lambda: kafka.committed(topic, topic) == {0: 50})

    assert stop(worker) == 0
