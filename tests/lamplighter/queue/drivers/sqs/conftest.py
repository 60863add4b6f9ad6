"""What answers as SQS does, and stores on it."""

from collections.abc import Iterator

import pytest

from lamplighter.queue.drivers.sqs.store import SqsStore
from tests.sqs import Moto, Stores, look_for_moto


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """A server for all tests, each of which makes queues of its own."""
    look_for_moto()
    moto = Moto()
    yield moto
    moto.close()


@pytest.fixture
def stores(moto: Moto) -> Iterator[Stores]:
    """Makes stores, one for each worker."""
    made: list[SqsStore] = []

    def make(seconds: int = 30, *, block_for: int = 0, prefix: bool = True, suffix: str = "") -> SqsStore:
        made.append(moto.store(seconds, block_for=block_for, prefix=prefix, suffix=suffix))
        return made[-1]

    yield make
    for store in made:
        store.close()
