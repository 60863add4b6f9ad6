"""Queues that operators pause, let go on and clear, on a real Kafka."""

import json
import time

import pytest

from tests.harness import Broker, Project, stop, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
EMPTY = ("--stop-when-empty",)


def monitored(project: Project, topic: str) -> dict[str, object]:
    """What `queue:monitor` says of a queue."""
    [row] = json.loads(project.artisan("queue:monitor", f"kafka:{topic}", "--json").stdout)
    assert isinstance(row, dict)
    return row


def test_a_queue_is_cleared_when_its_group_has_no_worker(
    project: Project, kafka: Broker, topic: str, protocol: str
) -> None:
    worker = project.worker()
    kafka.jobs(topic, *({"n": 1, "sleep": 4} for _ in range(2)), partition=0)
    wait_for(lambda: project.numbers("start"))
    refused = project.artisan("queue:clear", check=False)
    stop(worker)
    done = len(project.numbers("end"))
    kafka.jobs(topic, *({"n": n} for n in range(10, 30)))
    before = monitored(project, topic)["pending"]

    cleared = project.artisan("queue:clear", "--force")
    after = monitored(project, topic)["pending"]
    kafka.jobs(topic, {"n": 99})
    status = project.worker(*EMPTY).wait(60)

    assert refused.returncode == 1
    assert "Stop them all" in refused.stderr
    assert f"Cleared {before} jobs from the [{topic}] queue." in cleared.stdout
    assert (after, status) == (0, 0)
    assert project.numbers("start")[done:] == [99]


def test_what_is_finished_beyond_the_first_open_job_is_not_counted_as_cleared(
    project: Project, kafka: Broker, topic: str
) -> None:
    kafka.jobs(topic, {"n": 1, "fail_until": 9}, *({"n": n} for n in range(2, 6)), partition=0, maxTries=20)
    worker = project.worker("--backoff=500")
    wait_for(lambda: len(project.numbers("end")) == 4)
    stop(worker)

    cleared = project.artisan("queue:clear")
    status = project.worker(*EMPTY).wait(60)

    assert f"Cleared 1 job from the [{topic}] queue." in cleared.stdout
    assert status == 0
    assert project.numbers("start").count(1) == 1


def test_delayed_jobs_outlive_a_clear(project: Project, kafka: Broker, topic: str) -> None:
    program = """
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter import dispatch
dispatch(Probe(n=7), delay=3)
"""
    project.artisan("kafka:topics", "--create")
    told = project.python(program)
    assert told.returncode == 0, told.stderr

    cleared = project.artisan("queue:clear")
    project.worker()
    wait_for(lambda: project.numbers("end") == [7], seconds=90)

    assert "Delayed jobs stay" in cleared.stdout


def test_a_paused_queue_is_no_stall_and_goes_on_at_once(
    project: Project, kafka: Broker, topic: str, protocol: str
) -> None:
    project.configure(stall_after=3, prefetch=50)
    worker = project.worker()
    kafka.jobs(topic, {"n": 1})
    wait_for(lambda: project.numbers("end") == [1])
    project.artisan("queue:pause", topic)
    wait_for(lambda: f"Queue {topic} PAUSED" in project.log(), what="the worker sees it")
    kafka.jobs(topic, *({"n": n} for n in range(2, 1002)))

    until = time.monotonic() + 9  # three times as long as a stall
    wait_for(lambda: time.monotonic() > until or worker.poll() is not None)
    is_alive, meanwhile = worker.poll() is None, project.numbers("start")
    project.artisan("queue:resume", topic)
    wait_for(lambda: f"Queue {topic} RESUMED" in project.log(), what="the worker sees it")
    wait_for(lambda: len(project.numbers("end")) == 1001, what="all jobs run")

    assert is_alive
    assert meanwhile == [1]
    assert sorted(project.numbers("start")) == list(range(1, 1002))
    assert stop(worker) == 0


def test_a_retry_waits_for_its_paused_queue_and_the_other_queue_goes_on(
    project: Project, kafka: Broker, topic: str
) -> None:
    other = kafka.topic("other")
    worker = project.worker(f"--queue={topic}:8,{other}:1", "--backoff=5")
    kafka.jobs(topic, {"n": 1, "fail_until": 1}, maxTries=3)
    wait_for(lambda: project.numbers("start") == [1])
    project.artisan("queue:pause", topic)
    wait_for(lambda: f"Queue {topic} PAUSED" in project.log(), what="the worker sees it")
    kafka.jobs(other, *({"n": n, "sleep": 0.2} for n in range(10, 50)))
    wait_for(lambda: 49 in project.numbers("end"))
    meanwhile = project.numbers("start").count(1)

    project.artisan("queue:resume", topic)
    wait_for(lambda: 1 in project.numbers("end"), what="the retry")

    assert meanwhile == 1
    assert stop(worker) == 0
