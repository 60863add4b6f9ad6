"""On PostgreSQL a worker that has nothing to do hears of what is pushed."""

import threading
import time

import pytest

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import Unavailable
from tests.lamplighter.queue.drivers.database.conftest import POSTGRESQL, MakeStore, end_others

pytestmark = pytest.mark.parametrize("kind", POSTGRESQL)


def test_a_pushed_job_wakes_who_waits(make_store: MakeStore) -> None:
    worker, sender = make_store(), make_store()
    assert worker.wait(("default",), 5)  # it has begun to listen
    heard: list[bool] = []
    waiting = threading.Thread(target=lambda: heard.append(worker.wait(("other", "default"), 20)))
    began = time.monotonic()
    waiting.start()

    sender.push("else", [Message(b"0")], 0)
    sender.push("default", [Message(b"1")], 0)
    waiting.join(20)

    assert heard == [True]
    assert time.monotonic() - began < 10


def test_a_listener_whose_connection_was_ended_says_so_and_listens_again(
    make_store: MakeStore, databases: DatabaseManager, kind: str
) -> None:
    worker = make_store()
    worker.wait(("default",), 5)

    end_others(databases, kind)

    with pytest.raises(Unavailable):
        worker.wait(("default",), 5)
    assert worker.wait(("default",), 5)
