"""A worker whose `storage/` can't be written, on a real Apache Kafka."""

import pytest

from tests.harness import Broker, Project

pytestmark = pytest.mark.kafka

TOLD = ("the log file can't be written", "no name can be kept for the mover", "the heartbeat can't be written")


def test_a_worker_goes_on_where_its_storage_can_not_be_written(project: Project, kafka: Broker, topic: str) -> None:
    storage = project.folder / "storage"
    storage.write_text("no folder")
    kafka.jobs(topic, *({"n": n, "sleep": 0.4} for n in range(15)), partition=0)  # the heart beats more than once

    status = project.worker("--stop-when-empty", "--sleep=1", "-q", LOG_CHANNEL="single", CACHE_STORE="file").wait(60)
    storage.unlink()

    log = project.log()
    assert (status, project.numbers("end")) == (0, list(range(15))), log
    assert [log.count(words) for words in TOLD] == [1] * len(TOLD)
    assert "Traceback" not in log
    assert kafka.committed(topic, topic) == kafka.ends(topic)
