"""What every connection promises, on a real beanstalkd."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from lamplighter.queue.drivers.beanstalkd.store import BeanstalkdStore
from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.testing.conformance import (
    Conformance,
    ProcessConformance,
    QueueConformance,
    StoreConformance,
    WorkerConformance,
)
from lamplighter.testing.project import Project
from tests.beanstalkd import Line, Server

pytestmark = pytest.mark.beanstalkd

MISSED = (
    "beanstalkd 1.12 may miss the end of a reservation whose connection is open and silent, until it hears anything "
    "there; test_store.py looks at such ends"
)


class BeanstalkdConformance(Conformance):
    """Each test has tubes of its own on one server."""

    step = 1.0

    @pytest.fixture
    def config(self, server: Server) -> Mapping[str, Any]:
        """The connection of config/queue.py."""
        return {"driver": "beanstalkd", "host": "127.0.0.1", "port": server.port, "retry_after": int(self.lease)}


class TestStore(BeanstalkdConformance, StoreConformance):
    """What the engine asks of it."""

    @pytest.fixture
    def line(self, server: Server) -> Iterator[Line]:
        """A line to the server that can be cut."""
        line = Line(server)
        yield line
        line.close()

    @pytest.fixture
    def connect_store(self, line: Line) -> Callable[[], JobStore]:
        """A store of one worker."""
        return lambda: BeanstalkdStore(line.address, ttr=int(self.lease))

    @pytest.fixture
    def lose_answers(self, line: Line) -> Callable[[JobStore], AbstractContextManager[object]]:
        """Cut the line at the next answer that gives out a job."""

        @contextmanager
        def lose(store: JobStore) -> Iterator[None]:
            line.cut_at = b"RESERVED"
            yield

        return lose

    @pytest.fixture
    def cut(self, line: Line) -> Callable[[], object]:
        """Cut all connections."""
        return line.cut

    def test_a_lease_that_ran_out_is_anothers_and_its_late_end_changes_nothing(  # type: ignore[override]
        self,
    ) -> None:
        """See `MISSED`."""
        pytest.skip(MISSED)


class TestQueue(BeanstalkdConformance, QueueConformance):
    """What a worker pops from."""


class TestWaitingQueue(QueueConformance):
    """The same, where the server wakes a worker."""

    step = 1.0

    @pytest.fixture
    def config(self, server: Server) -> Mapping[str, Any]:
        """The connection of config/queue.py."""
        return {"driver": "beanstalkd", "host": "127.0.0.1", "port": server.port, "retry_after": 2, "block_for": 5}


@pytest.mark.long
class TestWorkers(BeanstalkdConformance, WorkerConformance):
    """Workers of this process."""


@pytest.mark.slow
@pytest.mark.long
class TestProcesses(BeanstalkdConformance, ProcessConformance):
    """Workers that are processes."""

    def test_the_late_end_of_a_frozen_worker_changes_nothing(  # type: ignore[override]
        self, project: Project
    ) -> None:
        """See `MISSED`."""
        pytest.skip(MISSED)
