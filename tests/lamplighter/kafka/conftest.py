"""The embedded broker, in a folder of the test's own."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.folder import BrokerFolder, started
from tests.harness import wait_for


def end(folder: Path) -> None:
    """End the broker of a folder, if there is one."""
    running = BrokerFolder(folder).running()
    if running is not None:
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
        wait_for(lambda: started(running.pid) is None, what="the broker's end")


@pytest.fixture
def framework(tmp_path: Path) -> Iterator[Path]:
    """A folder as storage/framework; a broker that was started in it is ended."""
    folder = tmp_path / "storage" / "framework"
    folder.mkdir(parents=True)
    yield folder
    end(folder)


@pytest.fixture
def broker(framework: Path) -> Iterator[EmbeddedBroker]:
    """The broker of that folder, not started yet."""
    broker = EmbeddedBroker(framework, environment="testing")
    yield broker
    broker.detach()
