"""Finds the embedded broker of this project, or starts it."""

import logging
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamplighter.errors import BrokerUnavailable, ConfigError
from lamplighter.kafka.embedded.folder import BrokerFolder, Running
from lamplighter.kafka.embedded.topics import TopicReaders
from lamplighter.kafka.embedded.watch import LINGER, describe
from lamplighter.support.environment import is_production
from lamplighter.support.files import open_at_once

log = logging.getLogger(__name__)

START_TIMEOUT = 10.0  # seconds, for the lock and the start together
LOOK = 0.02  # seconds between two looks for the broker that was started
MOST_LOG = 1_000_000  # bytes of its log, after which a new one is begun
NOTICE = (
    "The embedded broker keeps nothing when it ends, and at most about 5 MB a partition: it is for development. "
    "Set KAFKA_BROKERS for anything else."
)


class EmbeddedBroker:
    """The broker of one project, shared by all its processes; `docs/kafka.md` says when it ends.

    Attributes:
        has_started: this very object has started it.
    """

    def __init__(self, folder: Path, *, environment: str, linger: float = LINGER) -> None:
        self.folder = BrokerFolder(folder)
        self.has_started = False
        self._environment = environment
        self._linger = linger
        self._lease: weakref.finalize[..., EmbeddedBroker] | None = None
        self._leased_by = 0

    def address(self, readers: TopicReaders | None = None) -> str:
        """`host:port`; starts the broker when there is none, and counts this process among its users.

        Args:
            readers: which groups of this application read which topics; the broker stays for what they have not read.

        Raises:
            ConfigError: the environment is production.
            BrokerUnavailable: it did not come up; the message names its log.
        """
        self.refuse_production()
        until = time.monotonic() + START_TIMEOUT
        with self.alone(wait=START_TIMEOUT):
            # A user first: from now on the broker that is found doesn't end.
            self._attach()
            running = self.found(until) or self._start(until)
            if readers is not None:
                self.folder.tell(readers)
            return running.address

    def running(self) -> Running | None:
        """The broker's process, if there is one, and its file tells of it."""
        return self.folder.running()

    def found(self, until: float) -> Running | None:
        """The broker that lives; its place is never taken, since it may hold jobs. Only for who is `alone`.

        Args:
            until: how long, by the monotonic clock, to wait for one whose file was deleted, or that does not answer.

        Raises:
            BrokerUnavailable: it lives, and can't be reached.
        """
        while True:
            running = self.folder.running()
            if running is None and not self.folder.lives():
                return None
            if running is not None and running.answers():
                return running
            if time.monotonic() >= until:
                raise self._unavailable(
                    f"lives, and has not written its file {self.folder.path}/embedded-broker.json anew"
                    if running is None
                    else f"lives as process {running.pid}, and does not answer at {running.address}"
                )
            time.sleep(LOOK)

    @contextmanager
    def alone(self, *, wait: float) -> Iterator[None]:
        """Let nobody else find, start or end the broker meanwhile; makes its folder.

        Raises:
            BrokerUnavailable: another process has held the lock for `wait` seconds, or the folder can't be used.
        """
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            with self.folder.alone(wait=wait):
                yield
        except OSError as error:
            raise BrokerUnavailable(f"The embedded broker can't be used in {self.folder.path}: {error}") from error

    def detach(self) -> None:
        """Be no user any more; the broker stays for a minute."""
        if self._lease is not None:
            self._lease()
            self._lease, self._leased_by = None, 0

    def held(self) -> str:
        """What the broker holds by its last count, in words."""
        return describe(self.folder.unread())

    def tell_loss(self) -> None:
        """Warn of what the last broker has taken with it, if it has; before a new one is started."""
        lost = self.folder.lost()
        if lost is None:
            return
        unread = {"unread": describe(lost.unread)}
        if lost.was_killed:
            log.warning("the embedded broker was gone, and its messages with it; a new one is started", extra=unread)
        else:
            log.warning("the embedded broker has ended, and its messages with it; a new one is started", extra=unread)

    def refuse_production(self) -> None:
        """Raises ConfigError where jobs must not get lost."""
        if is_production(self._environment):
            raise ConfigError(
                "The embedded broker keeps nothing when it ends, so it refuses the environment production (APP_ENV). "
                "Set KAFKA_BROKERS to the brokers of a Kafka cluster."
            )

    def _attach(self) -> None:
        # A forked child has the descriptor, too, but may have closed it: it takes a lease of its own. Until its end it
        # counts by the inherited one as well.
        if self._leased_by != os.getpid():
            self._lease = weakref.finalize(self, _let_go, self.folder.lease(), os.getpid())
            self._leased_by = os.getpid()

    def _start(self, until: float) -> Running:
        self.tell_loss()
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
            time.sleep(LOOK)
        raise self._unavailable(f"did not come up within {START_TIMEOUT:g} s")

    def _launch(self, timeout: float) -> None:
        """Start the process; what we wait for is only its parent, which leaves it behind."""
        command = [sys.executable, "-P", "-m", "lamplighter.kafka.embedded.serve"]
        log_file = self.folder.log
        is_full = log_file.exists() and log_file.stat().st_size > MOST_LOG
        with open(log_file, "w" if is_full else "a", opener=open_at_once) as output:
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


def _let_go(descriptor: int, pid: int) -> None:
    """Close a lease; in a forked child its number may be another file's by now."""
    if os.getpid() == pid:
        os.close(descriptor)
