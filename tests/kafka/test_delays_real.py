"""Jobs that run later, against a real Apache Kafka: never early, never lost."""

import json
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from lamplighter.kafka.settings.tiers import SHORT
from lamplighter.kafka.topics.retention import ASK_AGAIN, Retention
from tests.harness import Broker, Node, Project, free_ports, stop, wait_for

pytestmark = pytest.mark.kafka

DAY = 86_400
WARM = 1_000_000  # the number of a job that is run before the others

# The clock object of a process, moved by what its environment says.
CLOCK = '''
"""Moves the clock of the delays."""

import os
import time

from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.support.provider import ServiceProvider


class ClockProvider(ServiceProvider):
    """As a host whose wall clock is wrong, and as one on which days have passed."""

    def register(self) -> None:
        """Put the moved clock in the place of the usual one."""
        skew, shift = (float(os.environ.get(name, "0")) for name in ("CLOCK_SKEW", "CLOCK_SHIFT"))
        self.app.instance(BrokerClock, BrokerClock(shift, wall=lambda: time.time() + skew))
'''

# Dispatches a job for each line of its input.
LATER = """
import json
import sys
import time

from bootstrap.app import create_app

create_app().bootstrap()
from app.Jobs.probe import Probe, note
from lamplighter.foundation.shortcuts import dispatch

for line in sys.stdin:
    wanted = json.loads(line)
    note("asked", n=wanted["data"]["n"], due=time.time() + wanted["delay"])
    id = dispatch(Probe(**wanted["data"]), delay=wanted["delay"], key=str(wanted["data"]["n"]), queue=wanted["queue"])
    note("sent", n=wanted["data"]["n"], id=id)
"""


class Delaying:
    """A project whose clock can be moved, with its delay topics."""

    def __init__(self, project: Project) -> None:
        self.project = project
        (project.folder / "app/clock_provider.py").write_text(CLOCK)
        (project.folder / "later.py").write_text(LATER)
        bootstrap = project.folder / "bootstrap/app.py"
        last = '"lamplighter.kafka.provider:KafkaServiceProvider",'
        bootstrap.write_text(bootstrap.read_text().replace(last, f'{last} "app.clock_provider:ClockProvider",'))

    def create_topics(self) -> None:
        """As an operator does."""
        self.project.artisan("kafka:topics", "--create")

    def later(
        self,
        *wanted: tuple[dict[str, Any], float],
        queue: str | None = None,
        check: bool = True,
        **environment: str,
    ) -> str:
        """Dispatch jobs from a process of their own; what it has said."""
        lines = "".join(json.dumps({"data": data, "delay": delay, "queue": queue}) + "\n" for data, delay in wanted)
        done = subprocess.run(
            [sys.executable, "later.py"],
            cwd=self.project.folder,
            env={**self.project.environment, **environment},
            input=lines,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode == 0) == check, done.stderr
        return done.stderr

    def lateness(self) -> dict[int, float]:
        """How much later than asked for each job was started first, in seconds."""
        due = {line["n"]: line["due"] for line in self.project.events("asked")}
        found: dict[int, float] = {}
        for line in self.project.events("start"):
            late = line["at"] - due[line["n"]]
            found[line["n"]] = min(late, found.get(line["n"], late))
        return found

    def warm_up(self) -> None:
        """Wait until the workers move what is due: joining a group takes its time, more where the machine is busy."""
        self.later(({"n": WARM}, 0.1))
        wait_for(lambda: WARM in self.project.numbers("end"), seconds=90, what="the first delayed job's end")
        self.project.ledger.unlink()

    def is_done(self, numbers: range) -> bool:
        """Whether each job has ended."""
        return set(self.project.numbers("end")) >= set(numbers)


@pytest.fixture
def delaying(project: Project) -> Delaying:
    """The project of this file's tests."""
    return Delaying(project)


def records(kafka: Broker, topic: str) -> list[Any]:
    """Every record of a topic, with its headers."""
    ends = kafka.ends(topic)
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": f"test-{uuid.uuid4().hex}"})
    consumer.assign([TopicPartition(topic, number, 0) for number in ends])
    found: list[Any] = []
    deadline = time.monotonic() + 20
    while len(found) < sum(ends.values()) and time.monotonic() < deadline:
        found += [one for one in consumer.consume(100, 0.2) if one.error() is None]
    consumer.close()
    return found


def kept_rows(project: Project) -> list[dict[str, Any]]:
    """What `queue:delayed` shows of the table."""
    found: list[dict[str, Any]] = json.loads(project.artisan("queue:delayed", "--json").stdout)["delayed_jobs"]
    return [job for job in found if job["can_cancel"]]


def test_jobs_run_when_they_are_due_and_none_early(delaying: Delaying) -> None:
    delaying.create_topics()
    delaying.project.worker("-q")
    delaying.warm_up()
    delays = [0.3, 1, 1.7, 2.5, 3.2, 4.4, 5, 6.1, 7.3, 8] * 5

    delaying.later(*(({"n": n}, delay) for n, delay in enumerate(delays)))
    wait_for(lambda: delaying.is_done(range(50)), seconds=40, what="their ends")

    late = delaying.lateness()
    assert min(late.values()) >= 0
    assert statistics.median(late.values()) < 1
    assert sorted(delaying.project.numbers("end")) == list(range(50))


def test_waiting_jobs_survive_kill_9_of_every_worker(delaying: Delaying) -> None:
    delaying.create_topics()
    workers = [delaying.project.worker("-q", log=f"worker{n}.log") for n in range(2)]
    delaying.later(*(({"n": n}, 1 + n * 0.15) for n in range(60)))
    wait_for(lambda: len(delaying.project.events("end")) > 5, what="the first ends")

    for worker in workers:
        worker.kill()
        worker.wait(10)
    for n in range(2):
        delaying.project.worker("-q", log=f"worker{n}.log")
    wait_for(lambda: delaying.is_done(range(60)), seconds=60, what="every end")

    assert min(delaying.lateness().values()) >= 0


def test_waiting_jobs_survive_a_killed_broker(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    node = Node(tmp_path / "kafka", free_ports())
    try:
        kafka = Broker(node.address)
        topic = kafka.topic()
        environment = {
            "KAFKA_BROKERS": kafka.address,
            "KAFKA_QUEUE": topic,
            "KAFKA_CONSUMER_GROUP_ID": topic,
            "DB_DATABASE": str(tmp_path / "database.sqlite"),
        }
        project = Project(tmp_path, environment=environment)
        project.artisan("migrate", "--force")
        delaying = Delaying(project)
        delaying.create_topics()
        project.worker("-q")
        delaying.later(*(({"n": n}, 1 + n * 0.3) for n in range(40)))
        wait_for(lambda: len(project.events("end")) > 3, what="the first ends")

        node("kill", "1")
        node("start", "1")
        wait_for(lambda: delaying.is_done(range(40)), seconds=90, what="every end")

        assert min(delaying.lateness().values()) >= 0
        project.close()
    finally:
        node("down")


@pytest.mark.parametrize("skew", ["30", "-30"])
def test_a_wrong_wall_clock_makes_nothing_run_early(delaying: Delaying, skew: str) -> None:
    delaying.project.configure(delay_short=4)
    delaying.create_topics()
    delaying.project.worker("-q", CLOCK_SKEW=skew)
    delaying.warm_up()

    delaying.later(({"n": 0}, 2), ({"n": 1}, 3.5), ({"n": 2}, 5), CLOCK_SKEW=str(-int(skew)))
    wait_for(lambda: delaying.is_done(range(3)), seconds=30, what="their ends")

    late = delaying.lateness()
    assert 0 <= min(late.values()) <= max(late.values()) < 10


def test_a_retry_that_is_due_late_travels_and_holds_nobody_up(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.project.configure(retry_in_place=1)
    delaying.create_topics()
    kafka.jobs(topic, {"n": 1, "fail_until": 1}, partition=0, attempts=0)
    kafka.publish(topic, [(b"1", json.dumps({"job": "probe", "data": {"n": 2}}).encode())], partition=0)
    delaying.project.worker("-q", "--tries=3", "--backoff=3")

    wait_for(lambda: delaying.project.numbers("end") == [2, 1], what="both ends, the later one first")
    wait_for(lambda: sum(kafka.committed(topic, topic).values()) == 3, what="the commit of all three")

    first, last = (line for line in delaying.project.events("start") if line["n"] == 1)
    assert (first["attempts"], last["attempts"]) == (1, 2)
    assert 3 <= last["at"] - first["at"] < 6
    original, copy = (one for one in records(kafka, topic) if json.loads(one.value())["data"]["n"] == 1)
    assert json.loads(copy.value()) == {**json.loads(original.value()), "attempts": 1}
    assert copy.key() == original.key()
    assert not copy.headers()


def test_without_order_every_retry_travels(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.project.configure(ordering="none")
    delaying.create_topics()
    kafka.jobs(topic, {"n": 1, "fail_until": 2})
    delaying.project.worker("-q", "--tries=3", "--backoff=1")

    wait_for(lambda: delaying.project.numbers("end") == [1], what="its end")

    assert [json.loads(one.value())["attempts"] for one in records(kafka, topic)] == [0, 1, 2]
    assert [line["attempts"] for line in delaying.project.events("start")] == [1, 2, 3]


def test_a_copy_that_is_too_large_becomes_a_failed_job(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.project.configure(retry_in_place=1, max_message_bytes=2000)
    delaying.create_topics()
    kafka.jobs(topic, {"n": 1, "fail_until": 9, "wish": ""}, padding="x" * 3000)
    delaying.project.worker("-q", "--tries=5", "--backoff=3")

    wait_for(lambda: delaying.project.events("failed"), what="its failure")
    wait_for(lambda: sum(kafka.committed(topic, topic).values()) == 1, what="its commit")

    assert [line["error"] for line in delaying.project.events("failed")] == ["MessageTooLarge"]
    assert len(delaying.project.events("start")) == 1
    failed = json.loads(delaying.project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    assert len(failed) == 1


def test_a_retry_that_can_not_be_published_waits_in_its_place(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.project.configure(retry_in_place=1)
    kafka.jobs(topic, {"n": 1, "fail_until": 1})
    worker = delaying.project.worker("-q", "--tries=3", "--backoff=4")

    wait_for(lambda: delaying.project.numbers("end") == [1], what="its end")

    first, last = delaying.project.events("start")
    assert last["attempts"] == 2
    assert last["at"] - first["at"] >= 4
    assert "waits in its place" in delaying.project.log()
    assert stop(worker) == 0
    assert sum(kafka.ends(topic).values()) == sum(kafka.committed(topic, topic).values()) == 1


def test_a_queue_that_is_missing_holds_up_its_own_jobs_alone(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.create_topics()
    later, admin = kafka.topic(), AdminClient({"bootstrap.servers": kafka.address})
    delaying.later(({"n": 1}, 0.5), queue=later)
    admin.delete_topics([later])[later].result(20)
    worker = delaying.project.worker("-q", f"--queue={topic}")
    wait_for(lambda: "can't be moved" in delaying.project.log(), what="the error line")

    delaying.later(*(({"n": n}, 0.5) for n in range(10, 20)))
    wait_for(lambda: delaying.is_done(range(10, 20)), what="the others' ends")
    # What can't be moved goes round, so that the commit goes on, and a restart repeats none of the others.
    assert stop(worker) == 0
    delaying.project.worker("-q", f"--queue={topic}")
    delaying.later(({"n": 20}, 0.5))
    wait_for(lambda: delaying.is_done(range(10, 21)), what="the end of the next")
    assert sorted(delaying.project.numbers("end")) == [*range(10, 21)]
    admin.create_topics([NewTopic(later, 1, 1)])[later].result(20)
    wait_for(lambda: kafka.ends(later), seconds=60, what="its arrival")

    assert [body["data"]["n"] for _, body in kafka.read(later)] == [1]


def test_a_mover_that_is_gone_makes_nobody_wait_for_its_session(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.project.configure(session_timeout=25)
    delaying.create_topics()
    arrivals = kafka.topic()
    first, second = (delaying.project.worker("-q", log=f"worker{n}.log") for n in range(2))
    delaying.later(*(({"n": n}, 0.2) for n in range(20)), queue=arrivals)
    wait_for(lambda: sum(kafka.ends(arrivals).values()) == 20, what="the first arrivals")

    began = time.monotonic()
    first.kill()
    first.wait(10)
    delaying.project.worker("-q", log="worker0.log")
    delaying.later(*(({"n": n}, 0.2) for n in range(20)), queue=arrivals)
    wait_for(lambda: sum(kafka.ends(arrivals).values()) >= 40, what="what the killed one would have moved")
    assert stop(second) == 0
    delaying.later(*(({"n": n}, 0.2) for n in range(20)), queue=arrivals)
    wait_for(lambda: sum(kafka.ends(arrivals).values()) >= 60, what="what the one that has left would have moved")

    assert time.monotonic() - began < 20


def test_a_mover_whose_name_somebody_else_has_takes_another(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.create_topics()
    worker = delaying.project.worker("-q")
    delaying.warm_up()
    [file] = (delaying.project.folder / "storage/framework/movers").iterdir()
    name = file.read_text()

    config = {"bootstrap.servers": kafka.address, "group.id": f"{topic}.delays", "group.instance.id": name}
    other = Consumer({**config, "session.timeout.ms": 3000, "partition.assignment.strategy": "cooperative-sticky"})
    other.subscribe([f"{topic}.delay.1"])
    wait_for(lambda: other.poll(0.1) or file.read_text() != name, what="the new name")
    other.close()
    delaying.later(*(({"n": n}, 0.5) for n in range(10)))
    wait_for(lambda: delaying.is_done(range(10)), what="their ends")

    assert "it has a new one" in delaying.project.log()
    assert stop(worker) == 0


def test_partitions_that_are_added_to_a_delay_topic_while_its_mover_is_killed_are_served(
    delaying: Delaying, kafka: Broker, topic: str
) -> None:
    project, waiting = delaying.project, f"{topic}.delay.1"
    project.configure(
        session_timeout=60,
        group_instance_id="one",
        consumer_options={"topic.metadata.refresh.interval.ms": 2000},
    )
    delaying.create_topics()
    killed = project.worker("-q", log="killed.log")
    delaying.warm_up()
    killed.kill()
    killed.wait(10)

    kafka.add_partitions(waiting, 8)
    delaying.later(*(({"n": n}, 1) for n in range(40)))
    worker = project.worker("-q")
    wait_for(lambda: delaying.is_done(range(40)), seconds=50, what="their ends")

    assert max(kafka.ends(waiting)) >= 4, "no job waited in an added partition"
    assert f"group={topic}.delays" in project.log()
    assert stop(worker) == 0


def test_what_others_write_into_a_delay_topic_becomes_a_failed_job(
    delaying: Delaying, kafka: Broker, topic: str
) -> None:
    delaying.create_topics()
    kafka.publish(f"{topic}.delay.900", [(b"key", b"rubbish")])
    delaying.project.worker("-q")

    def failed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(delaying.project.artisan("queue:failed", "--json").stdout)[
            "failed_jobs"
        ]
        return found

    wait_for(failed, seconds=60, what="the failed job")

    assert len(failed()) == 1
    assert "not ours" in delaying.project.log()


def test_a_worker_that_is_killed_with_a_travelling_retry_loses_nothing(
    delaying: Delaying, kafka: Broker, topic: str
) -> None:
    delaying.project.configure(retry_in_place=0.5)
    delaying.create_topics()
    kafka.jobs(topic, *({"n": n, "fail_until": 1} for n in range(20)))
    worker = delaying.project.worker("-q", "--tries=4", "--backoff=3")
    wait_for(lambda: len(delaying.project.events("start")) >= 10, what="the first starts")

    worker.kill()
    worker.wait(10)
    delaying.project.worker("-q", "--tries=4", "--backoff=3")
    wait_for(lambda: delaying.is_done(range(20)), seconds=60, what="every end")

    assert not delaying.project.events("failed")


def test_a_delayed_job_for_a_topic_that_is_missing_is_refused_as_one_without_a_delay(delaying: Delaying) -> None:
    delaying.create_topics()

    told = [delaying.later(({"n": 1}, delay), queue="not-there", check=False) for delay in (0, 5)]

    assert all("have no topic not-there" in one for one in told)


def test_what_is_never_kept_is_refused_at_dispatch(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.project.configure(delay_short=DAY)
    config = {"retention.ms": "60000", "message.timestamp.type": "LogAppendTime"}
    admin = AdminClient({"bootstrap.servers": kafka.address})
    for future in admin.create_topics([NewTopic(f"{topic}.delay.{s}", 1, 1, config=config) for s in SHORT]).values():
        future.result(20)

    too_long = delaying.later(({"n": 1}, 31 * DAY), check=False)
    too_short_kept = delaying.later(({"n": 2}, 120), check=False)
    told = delaying.project.artisan("kafka:topics", check=False)

    assert "UnsupportedDelay" in too_long
    assert "30 days at most" in too_long
    assert "retention.ms" in too_short_kept
    assert told.returncode == 1
    assert "retention.ms is 60,000" in told.stdout
    assert not delaying.project.events("sent")


def test_a_retention_that_was_raised_is_noticed(kafka: Broker) -> None:
    topic, now = kafka.topic(partitions=1, **{"retention.ms": "60000"}), 0.0
    retention = Retention(lambda: {"bootstrap.servers": kafka.address}, monotonic=lambda: now)
    before = retention(topic, 120)

    kafka.alter(topic, "retention.ms", "600000")
    at_once = retention(topic, 120)
    now = ASK_AGAIN
    later = retention(topic, 120)

    assert (before, at_once, later) == (60, 60, 600)


@pytest.mark.parametrize("store", ["database", "kafka"])
def test_twenty_days_pass_when_the_clock_is_moved(delaying: Delaying, store: str) -> None:
    delaying.project.configure(delay_store=store)
    delaying.create_topics()
    delaying.later(*(({"n": n}, 20 * DAY + n / 2) for n in range(100)))
    early = delaying.project.worker("-q", CLOCK_SHIFT=str(19.9 * DAY))
    # Long enough for both movers to have looked: what comes to the queue after it has gone round has been seen.
    delaying.later(({"n": 200}, 2), CLOCK_SHIFT="0")
    wait_for(lambda: 200 in delaying.project.numbers("end"), seconds=90, what="the short one's end")
    stop(early)
    assert delaying.project.numbers("start") == [200]

    delaying.project.worker("-q", CLOCK_SHIFT=str(20 * DAY + 60))
    wait_for(lambda: delaying.is_done(range(100)), seconds=60, what="every end")

    assert sorted(delaying.project.numbers("end")) == [*range(100), 200]


def test_two_workers_move_each_row_once(delaying: Delaying) -> None:
    delaying.project.configure(delay_short=2)
    delaying.create_topics()
    delaying.later(*(({"n": n}, 15) for n in range(200)))
    assert len(kept_rows(delaying.project)) == 200

    for n in range(2):
        delaying.project.worker("-q", log=f"worker{n}.log")
    wait_for(lambda: delaying.is_done(range(200)), seconds=60, what="every end")

    assert sorted(delaying.project.numbers("end")) == list(range(200))
    assert min(delaying.lateness().values()) >= 0
    wait_for(lambda: kept_rows(delaying.project) == [], what="an empty table")


def test_a_row_that_its_queue_refuses_makes_no_other_run_twice_and_can_be_cancelled(
    delaying: Delaying, kafka: Broker
) -> None:
    small = kafka.topic(partitions=1, **{"max.message.bytes": "2000"})
    delaying.project.configure(delay_short=1)
    delaying.create_topics()
    delaying.later(*(({"n": n, "wish": "x" * 3000 * (n == 8)}, 3) for n in range(9)), queue=small)
    delaying.project.worker("-q", f"--queue={small}")
    wait_for(lambda: delaying.is_done(range(8)), seconds=60, what="the others' ends")

    wait_for(lambda: len(kept_rows(delaying.project)) == 1, what="the rows of what has arrived to be gone")
    [row] = kept_rows(delaying.project)
    delaying.project.artisan("queue:cancel", row["id"])

    assert row["job_id"] == "8"
    assert "max.message.bytes" in delaying.project.log()
    assert sorted(delaying.project.numbers("start")) == list(range(8))


def test_long_delays_are_listed_counted_and_cancelled(delaying: Delaying, topic: str) -> None:
    delaying.create_topics()
    delaying.later(({"n": 1}, 3600), ({"n": 2}, 7200), ({"n": 3}, 600))
    project = delaying.project

    rows = kept_rows(project)
    project.artisan("queue:cancel", rows[0]["id"])
    again = project.artisan("queue:cancel", rows[0]["id"], check=False)
    project.artisan("queue:cancel", "2")

    assert [(row["class"], row["job_id"], row["queue"]) for row in rows] == [("probe", n, topic) for n in ("1", "2")]
    assert again.returncode == 1
    assert kept_rows(project) == []
    monitor = json.loads(project.artisan("queue:monitor", f"kafka:{topic}", "--json").stdout)
    assert [(row["size"], row["delayed"], row["status"]) for row in monitor] == [(0, 1, "OK")]


def test_the_monitor_tells_which_queue_is_too_long(delaying: Delaying, kafka: Broker, topic: str) -> None:
    delaying.create_topics()
    kafka.jobs(topic, *({"n": n} for n in range(5)))

    told = delaying.project.artisan("queue:monitor", topic, "--max=5").stdout
    as_json = json.loads(delaying.project.artisan("queue:monitor", topic, "--max=6", "--json").stdout)

    assert "[5] ALERT" in told
    assert as_json[0]["status"] == "OK"


def test_the_monitor_counts_what_is_there_while_the_table_of_delays_is_not(
    delaying: Delaying, kafka: Broker, topic: str
) -> None:
    delaying.create_topics()
    kafka.jobs(topic, {"n": 1})

    delaying.project.environment["DB_DATABASE"] = "another.sqlite"
    told = delaying.project.artisan("queue:monitor", topic, "--json")

    [row] = json.loads(told.stdout)
    assert (row["pending"], row["delayed"]) == (1, None)
    assert "run `migrate`" in told.stderr
