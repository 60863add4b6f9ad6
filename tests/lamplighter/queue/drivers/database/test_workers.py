"""Workers as processes, on each database."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.contracts import Message
from tests.lamplighter.queue.drivers.database.scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.long]

GOLDEN = json.loads((Path(__file__).parents[4] / "golden/payloads_database_v12.json").read_text())["rows"]


@pytest.fixture
def scene(tmp_path: Path, kind: str) -> Iterator[Scene]:
    """A project with a table."""
    scene = Scene(tmp_path / "project", kind)
    yield scene
    scene.close()


def test_a_job_of_laravels_fails_and_is_retried_with_the_columns_of_laravel(scene: Scene) -> None:
    payload = GOLDEN["after_push"][0]["payload"]
    objects = GOLDEN["after_push"][2]["payload"]  # a serialized object of PHP
    scene.store.push("default", [Message(payload.encode()), Message(objects.encode())], 0)

    scene.worker("--tries=2", "--stop-when-empty").wait(60)
    failed = scene.rows("SELECT uuid, connection, queue, payload FROM failed_jobs ORDER BY id")
    (scene.project.folder / "works").touch()
    scene.project.artisan("queue:retry", "00000000-0000-4000-8000-000000000025")
    [retried] = scene.rows()
    scene.worker("--stop-when-empty").wait(60)

    assert sorted((row["connection"], row["queue"], row["payload"]) for row in failed) == sorted(
        [("database", "default", payload), ("database", "default", objects)]
    )
    assert {**retried, "id": 0, "available_at": 0, "created_at": 0} == {
        "id": 0,
        "queue": "default",
        "payload": payload,
        "attempts": 0,
        "reserved_at": None,
        "available_at": 0,
        "created_at": 0,
    }
    assert [event["attempts"] for event in scene.project.events("stored")] == [1, 2, 1]
    assert scene.rows() == []


def test_a_job_of_three_leases_runs_once_beside_another_worker(scene: Scene) -> None:
    scene.push({"n": 1, "sleep": 6})
    workers = [scene.worker("--sleep=0.1") for _ in range(2)]

    scene.until(lambda: scene.project.events("end"))
    scene.until(lambda: not scene.rows())

    assert len(scene.project.events("start")) == 1
    for worker in workers:
        worker.terminate()
        assert worker.wait(20) == 0


def test_a_job_that_kills_its_worker_ends_after_its_tries(scene: Scene) -> None:
    scene.push({"n": 1, "exit": 9}, {"n": 2})

    for _ in range(2):
        scene.until(
            lambda: any(row["reserved_at"] is None for row in scene.rows()) or scene.worker("--tries=2").wait(60)
        )
    scene.until(lambda: scene.worker("--tries=2", "--stop-when-empty").wait(60) == 0 and not scene.rows())

    assert [event["attempts"] for event in scene.project.events("start") if event["n"] == 1] == [1, 2]
    assert scene.project.numbers("end") == [2]
    assert len(scene.rows("SELECT * FROM failed_jobs")) == 1


def test_no_low_job_starts_while_a_high_one_waits(scene: Scene) -> None:
    scene.push(*({"n": n} for n in range(100, 150)), queue="low")
    scene.push(*({"n": n} for n in range(50)), queue="high")

    scene.worker("--queue=high,low", "--stop-when-empty").wait(60)

    assert scene.project.numbers("start") == [*range(50), *range(100, 150)]


@pytest.mark.parametrize("kind", ["sqlite"])  # test_crowd.py has the servers
def test_eight_workers_meet_no_error(scene: Scene) -> None:
    scene.push(*({"n": n} for n in range(2000)))

    for worker in [scene.worker("--stop-when-empty") for _ in range(8)]:
        assert worker.wait(100) == 0

    ends = scene.project.numbers("end")
    assert sorted(ends) == list(range(2000))
    assert "WARN" not in scene.project.log().upper()
    assert "deadlock" not in scene.project.log().lower()
    assert scene.rows() == []


@pytest.mark.parametrize("pool", ["thread", "process", "async"])
def test_many_slots_share_the_table(scene: Scene, pool: str) -> None:
    scene.push(*({"n": n, "sleep": 0.01} for n in range(200)))

    worker = scene.worker("--concurrency=8", f"--pool={pool}", "--stop-when-empty")

    assert worker.wait(60) == 0
    assert sorted(scene.project.numbers("end")) == list(range(200))
    assert scene.rows() == []
