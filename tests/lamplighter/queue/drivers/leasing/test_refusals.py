"""A store that refuses for good, as Redis does when its password was changed: one line tells why, without a trace."""

import logging
from collections.abc import Sequence
from queue import SimpleQueue

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, Lease, Taken
from lamplighter.queue.drivers.memory import MemoryStore
from lamplighter.testing.waiting import LONG, wait_for

REASON = "QueueError: the password is wrong"


class Refusing(MemoryStore):
    """Jobs in memory that are not to be had any more when `refuses` is set."""

    refuses = False

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take, or refuse."""
        self._refuse()
        return super().take(queues, most, ended)

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Renew, or refuse."""
        self._refuse()
        return super().renew(leases)

    def _refuse(self) -> None:
        if self.refuses:
            raise QueueError("the password is wrong")


@pytest.fixture
def store() -> Refusing:
    """A store."""
    return Refusing(seconds=0.3)


@pytest.fixture
def queue(store: Refusing) -> LeasingQueue:
    """A connection with a job in hand."""
    queue = LeasingQueue("refused", store, default_queue="jobs")
    queue.open(["jobs"], SimpleQueue())
    queue.push(Message(b"{}"), queue="jobs")
    assert queue.pop(["jobs"], LONG) is not None
    return queue


def test_a_store_that_refuses_at_the_end_is_one_line(
    queue: LeasingQueue, store: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    store.seconds = 60
    store.refuses = True

    assert not queue.close(timeout=0.5)

    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (vars(record)["reason"], record.exc_info) == (REASON, None)


def test_a_store_that_refuses_what_it_is_told_meanwhile_is_one_line(
    queue: LeasingQueue, store: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    [delivery] = queue._in_hand
    store.refuses = True
    delivery.delete()

    wait_for(lambda: caplog.records, what="a word about it")

    assert {(vars(record)["reason"], record.exc_info) for record in caplog.records} == {(REASON, None)}
    store.refuses = False
    queue.close(timeout=1)
