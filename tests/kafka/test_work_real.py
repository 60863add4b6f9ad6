"""`queue:work kafka` against a real Apache Kafka: settle once, commit behind, lose nothing."""

import json
import os
import random
import signal
import time
from collections import Counter

import pytest

from lamplighter.kafka.partitions.offset_map import OffsetMap
from tests.harness import Broker, Project, stop, wait_for

pytestmark = pytest.mark.kafka

EMPTY = ("--stop-when-empty", "--sleep=1")


def test_jobs_of_another_program_run_and_are_committed(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, *({"n": n} for n in range(50)))

    status = project.worker(*EMPTY).wait(60)

    assert status == 0, project.log()
    assert sorted(project.numbers("end")) == list(range(50))
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_a_failing_job_is_tried_then_kept_with_its_bytes(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1, "fail_until": 9}, {"n": 2}, partition=0, maxTries=3)

    project.worker(*EMPTY, "--backoff=0,1").wait(60)

    assert [line["attempts"] for line in project.events("start") if line["n"] == 1] == [1, 2, 3]
    assert project.numbers("failed") == [1]
    assert project.numbers("end") == [2]
    listed = json.loads(project.artisan("queue:failed", "--json").stdout)
    assert len(json.dumps(listed)) > 2
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.parametrize(("ordering", "ends"), [("key", [2, 3, 1, 4]), ("partition", [3, 1, 2, 4])])
def test_a_retry_waits_in_its_place_and_others_flow(
    project: Project, kafka: Broker, topic: str, ordering: str, ends: list[int]
) -> None:
    project.configure(ordering=ordering)
    kafka.jobs(topic, {"n": 1, "fail_until": 1}, {"n": 2}, partition=0, maxTries=2)
    kafka.publish(topic, [(b"1", b'{"job":"probe","data":{"n":4}}')], partition=0)
    kafka.jobs(topic, {"n": 3}, partition=1)

    project.worker(*EMPTY, "--backoff=2").wait(60)

    assert sorted(project.numbers("end")[:-2]) + project.numbers("end")[-2:] == sorted(ends[:-2]) + ends[-2:]
    first, second = (line["at"] for line in project.events("start") if line["n"] == 1)
    assert 2.0 <= second - first < 3.5


def has_retries(kafka: Broker, topic: str) -> bool:
    """Whether the last commit of partition 0 tells of a job that is to be tried again."""
    offset, metadata = kafka.last_commit(topic, topic)
    handover = OffsetMap.decode(metadata, offset)
    return handover is not None and bool(handover.marks)


@pytest.mark.usefixtures("protocol")
def test_attempts_and_due_time_survive_kill_9(project: Project, kafka: Broker, topic: str) -> None:
    project.configure(ordering="partition")
    kafka.jobs(topic, {"n": 1, "fail_until": 1}, {"n": 2}, partition=0, maxTries=2)
    worker = project.worker("--backoff=6")
    wait_for(lambda: has_retries(kafka, topic), what="the commit that tells of the retry")

    worker.kill()
    worker.wait(10)
    project.worker(*EMPTY).wait(60)

    assert [line["attempts"] for line in project.events("start") if line["n"] == 1] == [1, 2]
    first, second = (line["at"] for line in project.events("start") if line["n"] == 1)
    assert second - first >= 6.0
    assert project.numbers("end") == [1, 2]


@pytest.mark.usefixtures("protocol")
def test_sigterm_finishes_the_job_in_hand_and_runs_nothing_twice(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, *({"n": n, "sleep": 2 if n == 500 else 0} for n in range(1000)), partition=0)
    worker = project.worker()
    wait_for(lambda: 500 in project.numbers("start"))

    status = stop(worker)
    ended = time.time()
    project.worker(*EMPTY).wait(60)

    assert status == 0, project.log()
    assert ended - next(line["at"] for line in project.events("end") if line["n"] == 500) < 3.0
    assert Counter(project.numbers("start")) == Counter(range(1000))


@pytest.mark.usefixtures("protocol")
def test_an_idle_worker_leaves_within_a_second(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1})
    worker = project.worker("--sleep=30")
    wait_for(lambda: kafka.committed(topic, topic))

    began = time.monotonic()
    status = stop(worker)

    assert (status, time.monotonic() - began < 1.5) == (0, True)


@pytest.mark.usefixtures("protocol")
def test_kill_9_at_random_moments_loses_nothing(project: Project, kafka: Broker, topic: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    kafka.jobs(topic, *({"n": n} for n in range(2000)))

    for _ in range(5):
        worker = project.worker()
        goal = len(project.events("end")) + chance.randint(50, 150)
        wait_for(lambda goal=goal: len(project.events("end")) >= goal)  # type: ignore[misc]
        worker.kill()
        worker.wait(10)
    project.worker(*EMPTY).wait(90)

    assert set(project.numbers("end")) == set(range(2000))
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.parametrize("data", [{"swallow": 60.0}, {"lock": True}], ids=["swallows every exception", "waits in C"])
def test_a_job_that_does_not_end_is_ended_by_its_timeout(
    project: Project, kafka: Broker, topic: str, data: dict[str, object]
) -> None:
    kafka.jobs(topic, {"n": 1, **data}, {"n": 2}, partition=0, maxTries=2, timeout=1)

    statuses = [project.worker(*EMPTY).wait(60) for _ in range(3)]

    assert statuses == [137, 137, 0], project.log()
    assert [line["attempts"] for line in project.events("start") if line["n"] == 1] == [1, 2]
    assert project.numbers("failed") == [1]
    assert project.numbers("end") == [2]
    assert "The job's stack" in project.log()
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_c_code_that_keeps_the_gil_is_ended_too_and_settles_nothing(
    project: Project, kafka: Broker, topic: str
) -> None:
    kafka.jobs(topic, {"n": 1, "regex": True}, timeout=1)

    began = time.monotonic()
    status = project.worker("--once").wait(60)

    assert status == 1
    assert 5 <= time.monotonic() - began < 15
    assert set(kafka.committed(topic, topic).values()) <= {0}


def test_a_failed_method_that_hangs_is_left_after_five_seconds(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1, "swallow": 60.0, "hook": 60.0}, {"n": 2}, partition=0, maxTries=1, timeout=1)

    statuses = [project.worker(*EMPTY).wait(60) for _ in range(2)]

    assert statuses == [137, 0], project.log()
    assert project.numbers("failed") == [1]
    assert project.numbers("end") == [2]
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_a_failed_method_that_hangs_keeps_no_worker_from_ending(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1, "fail_until": 9, "hook": 60.0}, {"n": 2}, partition=0)
    worker = project.worker("--grace=1")
    wait_for(lambda: project.numbers("failed") == [1])

    statuses = [stop(worker, seconds=10), project.worker(*EMPTY).wait(40)]

    assert statuses == [1, 0], project.log()
    assert project.numbers("failed") == [1]
    assert project.numbers("end") == [2]
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_what_a_job_asked_for_holds_when_it_is_ended_by_its_timeout(
    project: Project, kafka: Broker, topic: str
) -> None:
    kafka.jobs(topic, {"n": 1, "wish": "delete", "swallow": 60.0}, {"n": 2}, partition=0, maxTries=3, timeout=1)

    statuses = [project.worker(*EMPTY).wait(60) for _ in range(2)]

    assert statuses == [137, 0], project.log()
    assert project.numbers("start") == [1, 2]


@pytest.mark.parametrize(("options", "signals", "status"), [(("--grace=1",), 1, 1), ((), 2, 128 + signal.SIGTERM)])
def test_signals_reach_a_worker_whose_job_is_in_c_code(
    project: Project, kafka: Broker, topic: str, options: tuple[str, ...], signals: int, status: int
) -> None:
    kafka.jobs(topic, {"n": 1, "query": True}, timeout=0)
    worker = project.worker(*options)
    wait_for(lambda: project.numbers("start") == [1])

    for _ in range(signals):
        time.sleep(0.3)
        worker.terminate()

    assert worker.wait(20) == status, project.log()


def test_garbage_is_kept_and_delays_nothing(project: Project, kafka: Broker, topic: str) -> None:
    good = json.dumps({"job": "probe", "data": {"n": 7}}).encode()
    garbage: list[tuple[bytes | None, bytes | None]] = [
        (b"1", b""),
        (b"2", None),
        (b"3", b"hello"),
        (b"4", b"[1,2]"),
        (b"5", b'{"job": 3}'),
        (b"6", b'{"job": "nobody", "data": {}}'),
        (b"7", b'{"job": "probe"' + b" " * 900_000 + b"}"[:-1]),
        (b"8", b'{"job":"Illuminate\\\\Queue\\\\CallQueuedHandler@call","data":{"command":"O:1"}}'),
        (b"9", b'{"job": "probe", "data": {"n": "seven"}}'),
        (b"10", b'{"job":"probe","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
        (b"11", b'{"job":"probe\xff\xfe"}'),
        (None, b'{"job":"probe","data":[],"attempts":-4}'),
        (b"k" * 5000, b'{"job":"probe","data":"text"}'),
        (b"\xff\x00", b"\x00\x01\x02"),
    ]
    kafka.publish(topic, [*garbage, (b"good", good)], partition=0)

    status = project.worker(*EMPTY).wait(60)

    assert status == 0, project.log()
    assert project.numbers("end") == [7]
    assert len(json.loads(project.artisan("queue:failed", "--json").stdout)["failed_jobs"]) == len(garbage)
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_queue_restart_stops_every_worker_soon_and_finishes_long_jobs(
    project: Project, kafka: Broker, topic: str
) -> None:
    kafka.jobs(topic, *({"n": n, "sleep": 5 if n == 0 else 0.01} for n in range(3000)))
    workers = [project.worker(log=f"worker-{n}.log") for n in range(3)]
    wait_for(lambda: len({line["pid"] for line in project.events("start")}) == 3, seconds=60)
    wait_for(lambda: 0 in project.numbers("start"))

    project.artisan("queue:restart")
    readable = time.time()
    statuses = [worker.wait(40) for worker in workers]

    assert statuses == [0, 0, 0]
    assert max(line["at"] for line in project.events("start")) <= readable + 1.0
    assert 0 in project.numbers("end")


def test_once_runs_one_job_and_tells_whether_it_failed(project: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, {"n": 1, "fail_until": 9}, {"n": 2}, partition=0)

    statuses = [project.worker("--once").wait(60) for _ in range(3)]

    assert statuses == [1, 0, 0]
    assert project.numbers("start") == [1, 2]


def test_a_missing_topic_says_how_to_create_it(project: Project) -> None:
    worker = project.worker("--queue=no-such-topic")

    assert worker.wait(30) == 1
    assert "kafka:topics --create" in project.log()


def test_a_missing_topic_that_jobs_write_to_is_told_at_the_start(project: Project, topic: str) -> None:
    status = project.worker(*EMPTY, KAFKA_API_QUEUE="no-such-topic").wait(60)

    assert status == 0
    assert "kafka:topics --create" in project.log()
    assert "no-such-topic" in project.log()


def test_pause_and_resume_by_signal(project: Project, kafka: Broker, topic: str) -> None:
    worker = project.worker("--sleep=1")
    kafka.jobs(topic, {"n": 1})
    wait_for(lambda: project.numbers("end") == [1])

    os.kill(worker.pid, signal.SIGUSR2)
    kafka.jobs(topic, {"n": 2})
    time.sleep(2)
    paused = project.numbers("end")
    os.kill(worker.pid, signal.SIGCONT)
    wait_for(lambda: project.numbers("end") == [1, 2])

    assert paused == [1]
    assert stop(worker) == 0


def test_maintenance_holds_jobs_back_unless_forced(project: Project, kafka: Broker, topic: str) -> None:
    project.artisan("down")
    kafka.jobs(topic, {"n": 1})

    status = project.worker(*EMPTY).wait(30)
    held = project.numbers("end")
    project.worker(*EMPTY, "--force").wait(30)

    assert (status, held, project.numbers("end")) == (0, [], [1])
