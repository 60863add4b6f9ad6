"""Payloads too large for a message, against a real Apache Kafka: refused with the limit, or put aside."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.harness import Broker, Project, stop, wait_for

pytestmark = pytest.mark.kafka

JOBS = '''

@dataclass(frozen=True)
class Big(Job):
    """Tells how much of it has arrived."""

    name = "big"

    n: int = 0
    text: str = ""
    linger: float = 0
    fails: bool = False
    pushes: int = 0

    def handle(self, delivery: Delivery) -> None:
        note("big", n=self.n, size=len(self.text), payload=len(delivery.payload), attempts=delivery.attempts)
        if self.pushes:
            from lamplighter.foundation.shortcuts import dispatch

            dispatch(Big(n=self.n + 1, text="y" * self.pushes))
        time.sleep(self.linger)
        if self.fails and not (LEDGER.parent / "mended").exists():
            raise RuntimeError("boom")
'''

DISPATCH = """
import json, sys
from bootstrap.app import create_app
app = create_app().bootstrap()
from app.Jobs.probe import Big
from lamplighter.errors import MessageTooLarge
from lamplighter.foundation.shortcuts import dispatch
from lamplighter.queue.dispatching.dispatcher import Dispatcher
words = json.loads(sys.argv[1])
try:
    if "many" in words:
        jobs = [("big", {"n": n, "text": "x" * words["size"]}, None) for n in range(words["many"])]
        app.make(Dispatcher).push_many(jobs)
    else:
        dispatch(Big(n=words.get("n", 0), text="x" * words["size"], **words.get("fields", {})), **words.get("how", {}))
except MessageTooLarge as error:
    print(error)
    sys.exit(3)
"""

KILLER = '''
"""`artisan.py`, which kills its process at one place: when something is acknowledged, and before it is done about."""

import os
import signal
import sys

from bootstrap.app import create_app
from lamplighter.kafka.delays.delay_partition import DelayPartition
from lamplighter.kafka.delays.rows.table import DelayedJobs
from lamplighter.queue.claims.check import ClaimCheck
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.scheduler import Scheduler
from lamplighter.queue.commands.retry import RetryCommand

PLACES = {
    "after the word that it is done": (ClaimCheck, "_finish", "after"),
    "after the settlement": (KafkaDelivery, "delete", "after"),
    "after the copy of a retry": (Scheduler, "finish", "before"),
    "after the move": (DelayPartition, "done", "before"),
    "after the move of a row": (DelayedJobs, "forget", "before"),
    "after the push of a failed job": (RetryCommand, "_forget", "before"),
}
cls, name, when = PLACES[os.environ["KILL_AT"]]
original = getattr(cls, name)


def passing(*arguments, **keywords):
    if when == "after":
        original(*arguments, **keywords)
    os.kill(os.getpid(), signal.SIGKILL)


setattr(cls, name, passing)
sys.exit(create_app().run(sys.argv[1:]))
'''

LARGE = 3_000_000


@pytest.fixture
def project(project: Project) -> Project:
    """One that knows the job, and puts large payloads aside."""
    with (project.folder / "app/Jobs/probe.py").open("a") as file:
        file.write(JOBS)
    project.configure(claim_check=str(project.folder / "claims"))
    (project.folder / "killer.py").write_text(KILLER)
    return project


def dispatch(project: Project, size: int = LARGE, **words: Any) -> subprocess.CompletedProcess[str]:
    """Dispatch from a program of its own."""
    return subprocess.run(
        [sys.executable, "-c", DISPATCH, json.dumps({"size": size, **words})],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def claims(project: Project) -> list[Path]:
    """What is put aside."""
    return list((project.folder / "claims").glob("*.claim"))


def work(project: Project, *options: str) -> None:
    """Work what is there."""
    project.artisan("queue:work", "kafka", "-q", "--memory=0", "--stop-when-empty", *options, check=False)


def left(project: Project) -> list[tuple[str, int]]:
    """What the folder has: suffixes and sizes."""
    return sorted((path.suffix, path.stat().st_size) for path in (project.folder / "claims").iterdir())


def failed(project: Project) -> list[Any]:
    """The failed jobs."""
    return list(json.loads(project.artisan("queue:failed", "--json").stdout)["failed_jobs"])


def repeat(kafka: Broker, topic: str) -> None:
    """Put the first message of a topic there once more, as whoever died before it knew of its end."""
    first = kafka.messages(topic)[0]
    producer = Producer({"bootstrap.servers": kafka.address})
    producer.produce(topic, first.value(), first.key(), headers=first.headers())
    assert producer.flush(10) == 0


# the way of a payload ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pool", ["solo", "thread", "process"])
def test_a_large_payload_arrives_whole_and_goes_when_its_job_is_done(
    project: Project, kafka: Broker, topic: str, pool: str
) -> None:
    done = dispatch(project)
    aside = [path.stat().st_size for path in claims(project)]

    work(project, f"--pool={pool}")

    assert done.returncode == 0, done.stderr
    [told] = project.events("big")
    assert told["size"] == LARGE
    assert [told["payload"]] == aside
    assert left(project) == [(".done", 0)]
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_many_at_once_are_put_aside_and_small_ones_are_not(project: Project) -> None:
    large, small = dispatch(project, 600_000, many=3), dispatch(project, 1000, many=3)
    aside = len(claims(project))

    work(project)

    assert (large.returncode, small.returncode, aside) == (0, 0, 3)
    assert sorted(line["size"] for line in project.events("big")) == [1000] * 3 + [600_000] * 3
    assert claims(project) == []


def test_a_worker_that_dies_before_its_commit_leaves_the_payload_for_the_next(project: Project) -> None:
    dispatch(project, fields={"linger": 2})
    worker = project.worker("-q", "--memory=0")
    wait_for(lambda: project.events("big"), what="the start")

    stop(worker, signal.SIGKILL)
    aside = len(claims(project))
    work(project, "--tries=5")

    assert aside == 1
    assert [line["size"] for line in project.events("big")] == [LARGE] * 2
    assert failed(project) == []
    assert left(project) == [(".done", 0)]


# a record that comes again ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pool", ["solo", "thread", "process"])
def test_a_job_that_is_done_is_passed_over_when_its_record_comes_again(
    project: Project, kafka: Broker, topic: str, pool: str
) -> None:
    dispatch(project)
    work(project, f"--pool={pool}")
    repeat(kafka, topic)

    work(project, f"--pool={pool}")

    assert len(project.events("big")) == 1
    assert failed(project) == []
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def kill_a_worker(project: Project, place: str, *options: str) -> None:
    """Let a worker kill itself there."""
    worker = project.worker("-q", "--memory=0", *options, program="killer.py", KILL_AT=place)
    assert worker.wait(60) == -signal.SIGKILL, project.log()


def work_to_the_end(project: Project, kafka: Broker, topic: str, *, records: int) -> None:
    """Work until the topic has had so many records, and all of them are committed."""
    worker = project.worker("-q", "--memory=0", "--tries=3")
    wait_for(lambda: sum(kafka.ends(topic).values()) >= records, seconds=60, what="the record that comes again")
    wait_for(lambda: kafka.committed(topic, topic) == kafka.ends(topic), seconds=60, what="the commit of all")
    assert stop(worker) == 0, project.log()


def assert_done(project: Project, *, starts: int) -> None:
    """The job has been started so often, the last time to its end, and none of its records has failed."""
    assert failed(project) == []
    assert len(project.events("big")) == starts
    assert left(project) == [(".done", 0)]


@pytest.mark.parametrize("place", ["after the word that it is done", "after the settlement"])
def test_a_worker_that_is_killed_between_the_end_and_the_commit_leaves_a_job_that_is_done(
    project: Project, kafka: Broker, topic: str, place: str
) -> None:
    dispatch(project)
    kill_a_worker(project, place, "--tries=1")
    repeat(kafka, topic)

    work_to_the_end(project, kafka, topic, records=2)

    assert_done(project, starts=1)


def test_a_mover_that_is_killed_between_the_acknowledgement_and_its_commit_moves_a_job_that_is_done_once(
    project: Project, kafka: Broker, topic: str
) -> None:
    project.artisan("kafka:topics", "--create")
    dispatch(project, how={"delay": 1})
    kill_a_worker(project, "after the move")

    work_to_the_end(project, kafka, topic, records=2)

    assert_done(project, starts=1)


def test_a_row_whose_mover_is_killed_before_it_is_deleted_is_done_once(
    project: Project, kafka: Broker, topic: str
) -> None:
    project.configure(delay_short=1)
    project.artisan("kafka:topics", "--create")
    dispatch(project, how={"delay": 2})
    kill_a_worker(project, "after the move of a row")
    with closing(sqlite3.connect(project.environment["DB_DATABASE"], timeout=30)) as database, database:
        database.execute("UPDATE delayed_jobs SET leased_until = 0")  # the lease of the one that was killed is over

    work_to_the_end(project, kafka, topic, records=2)

    assert_done(project, starts=1)


def test_a_retry_whose_worker_is_killed_before_its_original_is_finished_is_done_once(
    project: Project, kafka: Broker, topic: str
) -> None:
    project.configure(retry_in_place=0.1)
    project.artisan("kafka:topics", "--create")
    dispatch(project, fields={"fails": True})
    kill_a_worker(project, "after the copy of a retry", "--tries=5", "--backoff=1")
    (project.folder / "mended").touch()

    work_to_the_end(project, kafka, topic, records=2)

    assert_done(project, starts=2)


def test_a_failed_job_whose_retry_is_killed_before_its_record_is_deleted_is_done_once(
    project: Project, kafka: Broker, topic: str
) -> None:
    dispatch(project, fields={"fails": True})
    work(project)
    (project.folder / "mended").touch()
    words = [sys.executable, "killer.py", "queue:retry", "all"]
    environment = {**project.environment, "KILL_AT": "after the push of a failed job"}
    killed = subprocess.run(words, cwd=project.folder, env=environment, timeout=60, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    project.artisan("queue:retry", "all")

    work_to_the_end(project, kafka, topic, records=3)

    assert_done(project, starts=2)


def test_a_failed_job_that_was_done_elsewhere_is_passed_over_when_it_is_retried(
    project: Project, kafka: Broker, topic: str
) -> None:
    dispatch(project, fields={"fails": True})
    work(project)
    (project.folder / "mended").touch()
    repeat(kafka, topic)
    work(project)

    project.artisan("queue:retry", "all")
    work(project)

    assert len(project.events("big")) == 2
    assert failed(project) == []
    assert left(project) == [(".done", 0)]
    assert kafka.committed(topic, topic) == kafka.ends(topic)


# pruning ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payload_outlives_the_longest_delay_and_the_retention_behind_it(project: Project) -> None:
    dispatch(project)
    (file,) = claims(project)

    pruned = []
    for days in (59, 61):
        os.utime(file, (time.time() - days * 86_400,) * 2)
        pruned.append(project.artisan("queue:prune-claims").stdout)

    assert "0 payloads deleted" in pruned[0]
    assert "1 payload deleted" in pruned[1]


def test_a_job_in_the_table_keeps_its_payload_however_late_it_comes(project: Project, kafka: Broker) -> None:
    dispatch(project, how={"delay": 86_400})
    dispatch(project)

    pruned = project.artisan("queue:prune-claims", "--hours=0").stdout

    [waiting] = json.loads(project.artisan("queue:delayed", "--json").stdout)["delayed_jobs"]
    assert waiting["can_cancel"]
    assert "1 payload deleted" in pruned
    assert len(claims(project)) == 1


def test_a_failed_job_keeps_its_payload_for_its_retry(project: Project) -> None:
    dispatch(project, fields={"fails": True})
    work(project)
    pruned = project.artisan("queue:prune-claims", "--hours=0").stdout
    kept = len(claims(project))

    (project.folder / "mended").touch()
    project.artisan("queue:retry", "all")
    work(project)

    assert "0 payloads deleted" in pruned
    assert kept == 1
    assert [line["size"] for line in project.events("big")] == [LARGE] * 2
    assert left(project) == [(".done", 0)]


# what is lost, and what is refused ────────────────────────────────────────────────────────────────────────────────────


def test_a_payload_that_is_gone_fails_its_job_with_the_reason_and_no_other(project: Project) -> None:
    dispatch(project, n=1)
    for path in claims(project):
        path.unlink()
    dispatch(project, n=2)

    work(project)

    assert [line["n"] for line in project.events("big")] == [2]
    told = project.artisan("queue:failed", "-v").stdout
    assert "ClaimLost" in told
    assert "is not in" in told


def test_a_worker_without_the_folder_fails_what_claims_one(project: Project) -> None:
    dispatch(project, n=1)
    project.configure(claim_check="")

    work(project)

    assert project.events("big") == []
    assert "has no claim_check" in project.artisan("queue:failed", "-v").stdout


def test_without_a_claim_check_a_large_job_is_refused_with_the_limit(project: Project, topic: str) -> None:
    project.configure(claim_check="")

    one, many = dispatch(project), dispatch(project, many=2)

    for done in (one, many):
        assert done.returncode == 3, done.stderr
        assert "1,000,000 (max_message_bytes)" in done.stdout
        assert topic in done.stdout


def test_what_only_its_frame_makes_too_large_is_told_the_limit_of_the_connection(project: Project) -> None:
    project.configure(claim_check="")
    size = 999_900
    [told] = re.findall(r"of ([\d,]+) bytes", dispatch(project, size).stdout)
    over = int(told.replace(",", "")) - 1_000_000

    done = dispatch(project, size - over)

    assert done.returncode == 3, done.stderr
    assert "with its headers" in done.stdout
    assert "1,000,000 bytes (max_message_bytes)" in done.stdout


def test_a_topic_that_takes_less_is_named_with_its_limit(project: Project, kafka: Broker) -> None:
    small = kafka.topic("small", partitions=2, **{"max.message.bytes": "5000"})
    project.environment["KAFKA_QUEUE"] = small

    one, many = dispatch(project, 9000), dispatch(project, 9000, many=2)

    for done in (one, many):
        assert done.returncode == 3, done.stderr
        assert f"the topic {small} takes, which is 5,000 bytes" in done.stdout


@pytest.mark.parametrize("size", [9000, 1_100_000], ids=["for the topic", "for the connection"])
def test_a_push_that_is_too_large_fails_the_job_that_made_it(project: Project, kafka: Broker, size: int) -> None:
    small = kafka.topic("small", partitions=2, **{"max.message.bytes": "5000"})
    project.environment["KAFKA_QUEUE"] = project.environment["KAFKA_CONSUMER_GROUP_ID"] = small
    project.configure(claim_check="")
    dispatch(project, 10, fields={"pushes": size})

    work(project)

    assert len(project.events("big")) == 1
    told = project.artisan("queue:failed", "-v").stdout
    assert "MessageTooLarge" in told
    assert kafka.committed(small, small) == kafka.ends(small)
