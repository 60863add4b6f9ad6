"""Clusters that may be harmed, and fleets of workers on them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fleet import Fleet
from tests.faults.mock import Mock
from tests.harness import Broker, Node, free_ports

MakeFleet = Callable[..., Fleet]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """They take long, so that they run only where they are asked for: by their folder, or by FAULTS."""
    if os.environ.get("FAULTS") or any("faults" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("faults")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("faults")]


@pytest.fixture
def mock() -> Iterator[Mock]:
    """A mock cluster of the test's own."""
    mock = Mock()
    yield mock
    mock.close()


@pytest.fixture(scope="session")
def kafka() -> Broker:
    """The broker that CI promised, or that somebody has started with scripts/kafka."""
    address = os.environ.get("KAFKA_TEST_BROKERS")
    if not address:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Kafka, and KAFKA_TEST_BROKERS is not set")
        pytest.skip("no real Kafka: start one with `scripts/kafka up` and set KAFKA_TEST_BROKERS")
    return Broker(address)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: Broker) -> Iterator[Node]:
    """One broker of the tests' own, which may be killed, frozen and started."""
    node = Node(tmp_path_factory.mktemp("kafka"), free_ports())
    yield node
    node("down")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, kafka: Broker) -> Iterator[Node]:
    """Three of them."""
    nodes = Node(tmp_path_factory.mktemp("kafka"), free_ports(30), nodes=3)
    yield nodes
    nodes("down")


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[MakeFleet]:
    """Makes fleets, and ends them."""
    made: list[Fleet] = []

    def make(broker: Broker, **options: Any) -> Fleet:
        folder = tmp_path / f"fleet-{len(made)}"
        folder.mkdir()
        made.append(Fleet(folder, broker, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
