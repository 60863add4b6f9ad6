"""Finds the embedded broker of this project, or starts it."""

import logging
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from lamplighter.errors import BrokerUnavailable, ConfigError
from lamplighter.kafka.embedded.folder import BrokerFolder, Running

log = logging.getLogger(__name__)

START_TIMEOUT = 10.0  # seconds, for the lock and the start together
LINGER = 60.0  # seconds that it stays after the last user
NOTICE = (
    "The embedded broker keeps nothing when it ends, and at most about 5 MB a partition: it is for development. "
    "Set KAFKA_BROKERS for anything else."
)


class EmbeddedBroker:
    """The broker of one project, shared by all its processes; it ends a minute after the last of them.

    Attributes:
        has_started: this very object has started it.
    """

    def __init__(self, folder: Path, *, environment: str, linger: float = LINGER) -> None:
        self.folder = BrokerFolder(folder)
        self.has_started = False
        self._environment = environment
        self._linger = linger
        self._let_go: Callable[[], object] | None = None

    def address(self) -> str:
        """`host:port`; starts the broker when there is none, and counts this process among its users.

        Raises:
            ConfigError: the environment is production.
            BrokerUnavailable: it did not come up; the message names its log.
        """
        self.refuse_production()
        until = time.monotonic() + START_TIMEOUT
        # A user first: from now on the broker that is found doesn't end.
        self.attach()
        with self.folder.alone(wait=START_TIMEOUT):
            running = self.folder.running()
            return (running or self._start(until)).address

    def running(self) -> Running | None:
        """The broker's process, if there is one that answers."""
        return self.folder.running()

    def attach(self) -> None:
        """Count this process among the users, until `detach` or its end, however that comes."""
        if self._let_go is None:
            self._let_go = weakref.finalize(self, os.close, self.folder.lease())

    def detach(self) -> None:
        """Be no user any more."""
        if self._let_go is not None:
            self._let_go()
            self._let_go = None

    def refuse_production(self) -> None:
        """Raises ConfigError where jobs must not get lost."""
        if self._environment == "production":
            raise ConfigError(
                "The embedded broker keeps nothing when it ends, so it refuses the environment production (APP_ENV). "
                "Set KAFKA_BROKERS to the brokers of a Kafka cluster."
            )

    def _start(self, until: float) -> Running:
        if self.folder.was_lost():
            log.warning("the embedded broker was gone, and its messages with it; a new one is started")
        self._launch(until - time.monotonic())
        while time.monotonic() < until:
            running = self.folder.running()
            if running is not None:
                self.has_started = True
                log.warning(
                    "embedded broker started; it keeps nothing, and at most about 5 MB a partition",
                    extra={"address": running.address, "log": str(self.folder.log)},
                )
                return running
            time.sleep(0.02)
        raise self._unavailable(f"did not come up within {START_TIMEOUT:g} s")

    def _launch(self, timeout: float) -> None:
        """Start the process; what we wait for is only its parent, which leaves it behind."""
        command = [sys.executable, "-P", "-m", "lamplighter.kafka.embedded.serve"]
        with self.folder.log.open("w") as output:
            try:
                # A session of its own: Ctrl-C in the terminal that started it must not reach the broker. Its output
                # goes to its log: whoever reads ours would otherwise wait for its end.
                done = subprocess.run(
                    [*command, str(self.folder.path.absolute()), str(self._linger)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.folder.path,
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(p).absolute()) for p in sys.path if p)},
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise self._unavailable(f"did not come up within {START_TIMEOUT:g} s") from error
        if done.returncode != 0:
            raise self._unavailable(f"ended at once with {done.returncode}")

    def _unavailable(self, what: str) -> BrokerUnavailable:
        return BrokerUnavailable(f"The embedded broker {what}; its log is {self.folder.log}.")
