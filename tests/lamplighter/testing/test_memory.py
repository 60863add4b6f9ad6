"""The driver `memory` keeps what every connection promises."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from lamplighter.contracts import WorkQueue
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.queue.drivers.memory import MemoryStore
from lamplighter.testing.conformance import (
    Conformance,
    ProcessConformance,
    QueueConformance,
    StoreConformance,
    WorkerConformance,
)


class MemoryConformance(Conformance):
    """All connections of a test have one store."""

    lease = 1.0

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The connection of config/queue.py."""
        return {"driver": "memory", "retry_after": self.lease}

    @pytest.fixture
    def connect_store(self) -> Callable[[], JobStore]:
        """The store of the test, for each of its workers."""
        store = MemoryStore(seconds=self.lease)
        return lambda: store

    @pytest.fixture
    def connect(self, connect_store: Callable[[], JobStore]) -> Iterator[Callable[[], WorkQueue]]:
        """One more connection to the store of the test."""
        queues: list[WorkQueue] = []

        def connect() -> WorkQueue:
            queues.append(LeasingQueue("memory", connect_store(), default_queue="default"))
            return queues[-1]

        yield connect
        for queue in queues:
            queue.close(timeout=1)


class TestStore(MemoryConformance, StoreConformance):
    """What the engine asks of it."""


class TestQueue(MemoryConformance, QueueConformance):
    """What a worker pops from."""


class TestWorkers(MemoryConformance, WorkerConformance):
    """Workers of this process."""


@pytest.mark.slow
@pytest.mark.long
class TestProcesses(ProcessConformance):
    """Workers that are processes."""

    lacks = MappingProxyType({"outlives": "the jobs are in the memory of one process"})

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The connection of config/queue.py."""
        return {"driver": "memory", "retry_after": self.lease}
