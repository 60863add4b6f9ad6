"""Workers that are killed again and again: no job is lost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.jobs.payload import new_id, write
from tests.harness import Project
from tests.kills import Killing, kill_workers
from tests.sqs import Moto

pytestmark = [pytest.mark.sqs, pytest.mark.slow, pytest.mark.long]

LEASE = 4  # seconds: moto answers slowly


@pytest.fixture
def killing(tmp_path: Path, moto: Moto) -> Iterator[Killing]:
    """An application whose queue is in what answers as SQS does."""
    queue = moto.queue()
    environment = {
        "QUEUE_CONNECTION": "sqs",
        "SQS_KEY": "test",
        "SQS_SECRET": "test",
        "SQS_ENDPOINT": moto.url,
        "SQS_QUEUE": queue,
        "CACHE_STORE": "file",
        "QUEUE_FAILED_DRIVER": "null",
    }
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, environment=environment)
    with (folder / "config/queue.py").open("a") as file:
        file.write(f'\nconfig["connections"]["sqs"]["retry_after"] = {LEASE}\n')
    store = moto.store()

    def push(data: Sequence[dict[str, Any]]) -> None:
        store.push(queue, [Message(write("probe", each, id=new_id())) for each in data], 0)

    def is_empty() -> bool:
        sizes = store.sizes(queue)
        return sizes.pending == sizes.reserved == 0

    yield Killing(project, "sqs", push, is_empty)
    project.close()
    store.close()


def test_workers_that_are_killed_lose_no_job(killing: Killing) -> None:
    kill_workers(killing)
