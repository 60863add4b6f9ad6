"""Workers that are killed again and again, and a server that is: no job is lost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.jobs.payload import new_id, write
from tests.beanstalkd import Server
from tests.harness import Project
from tests.kills import Killing, kill_server, kill_workers

pytestmark = [pytest.mark.beanstalkd, pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def killing(tmp_path: Path, own_server: Server) -> Iterator[Killing]:
    """An application whose queue is on a server of its own, which keeps its jobs in a log."""
    environment = {
        "QUEUE_CONNECTION": "beanstalkd",
        "BEANSTALKD_QUEUE_HOST": "127.0.0.1",
        "BEANSTALKD_QUEUE_PORT": str(own_server.port),
        "CACHE_STORE": "file",
        "QUEUE_FAILED_DRIVER": "null",
    }
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, environment=environment)
    store = own_server.store()

    def push(data: Sequence[dict[str, Any]]) -> None:
        store.push("default", [Message(write("probe", each, id=new_id())) for each in data], 0)

    def is_empty() -> bool:
        sizes = store.sizes("default")
        return sizes.pending == sizes.reserved == 0

    yield Killing(project, "beanstalkd", push, is_empty)
    project.close()
    store.close()


def test_workers_that_are_killed_lose_no_job(killing: Killing) -> None:
    kill_workers(killing)


def test_a_server_with_a_log_that_is_killed_loses_no_job(killing: Killing, own_server: Server) -> None:
    kill_server(killing, own_server.kill, own_server.start)
