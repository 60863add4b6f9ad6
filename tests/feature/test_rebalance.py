"""A worker that is told to stop while another one joins: what it has finished is not run again."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Broker, Project, stop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the embedded broker, whose rebalances take long enough to be hit."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


@pytest.mark.parametrize("moment", [0.9, 1.2, 1.6])
def test_nothing_runs_twice_when_a_worker_leaves_in_a_rebalance(project: Project, moment: float) -> None:
    leaving = project.worker("-q", log="leaving.log")
    wait_for(lambda: "partitions assigned" in project.log("leaving.log"))
    address = json.loads((project.folder / "storage/framework/embedded-broker.json").read_text())["address"]
    Broker(address).jobs("store", *({"n": n} for n in range(200)))
    wait_for(lambda: len(project.events("end")) == 200)

    joining = project.worker("-q", log="joining.log")
    time.sleep(moment)  # a moment within the other's joining
    status = stop(leaving)
    wait_for(lambda: "store[3]" in project.log("joining.log"), what="the other has all partitions")
    last = stop(joining)

    assert (status, last) == (0, 0)
    # The embedded broker, unlike Apache Kafka, may refuse the last commit while members join once more; that is told.
    is_told = "commit at revocation failed" in project.log("leaving.log")
    assert is_told or Counter(project.numbers("start")).most_common(1)[0][1] == 1
