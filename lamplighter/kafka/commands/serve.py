"""`kafka:serve`: runs the embedded broker in the foreground."""

import signal
import threading

from lamplighter.console.command import Command
from lamplighter.errors import ConsoleError
from lamplighter.kafka.embedded.broker import NOTICE, START_TIMEOUT, EmbeddedBroker
from lamplighter.kafka.embedded.cluster import MockCluster
from lamplighter.kafka.embedded.serve import start, watch


class ServeCommand(Command):
    """Run the embedded broker in the foreground."""

    name = "kafka:serve"
    description = "Run the embedded broker in the foreground"

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    def handle(self) -> None:
        """Serve until Ctrl-C."""
        self._broker.refuse_production()
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        cluster = self._start()
        self.output.info(NOTICE)
        self.output.info(f"It serves at {cluster.address}; Ctrl-C ends it.")
        reason = watch(self._broker.folder, linger=None, ended=ended)
        self.output.info(f"The embedded broker has ended: {reason}.")

    def _start(self) -> MockCluster:
        with self._broker.folder.alone(wait=START_TIMEOUT):
            running = self._broker.running()
            if running is not None:
                raise ConsoleError(f"The embedded broker runs already, at {running.address} (pid {running.pid}).")
            return start(self._broker.folder)
