"""The embedded broker, in a folder of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.kafka.embedded.broker import EmbeddedBroker
from tests.harness import end_broker


@pytest.fixture
def framework(tmp_path: Path) -> Iterator[Path]:
    """A folder as storage/framework; a broker that was started in it is ended."""
    folder = tmp_path / "storage" / "framework"
    folder.mkdir(parents=True)
    yield folder
    end_broker(folder)


@pytest.fixture
def broker(framework: Path) -> Iterator[EmbeddedBroker]:
    """The broker of that folder, not started yet."""
    broker = EmbeddedBroker(framework, environment="testing")
    yield broker
    broker.detach()
