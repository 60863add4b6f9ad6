"""`kafka:serve`: runs the embedded broker in the foreground."""

import time

from lamplighter.console.command import Command
from lamplighter.errors import ConsoleError
from lamplighter.kafka.embedded.broker import NOTICE, START_TIMEOUT, EmbeddedBroker
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.serve import ServedBroker, end_by_signals
from lamplighter.kafka.embedded.watch import Watch


class ServeCommand(Command):
    """Run the embedded broker in the foreground."""

    name = "kafka:serve"
    description = "Run the embedded broker in the foreground"

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    def handle(self) -> None:
        """Serve until Ctrl-C."""
        self._broker.refuse_production()
        ended = end_by_signals()
        folder, served = self._start()
        self.output.info(NOTICE)
        self.output.info(f"It serves at {served.address}; Ctrl-C ends it.")
        reason = Watch(folder, served, linger=None, say=self.output.info).run(ended)
        self.output.info(f"The embedded broker has ended: {reason}.")

    def _start(self) -> tuple[BrokerFolder, ServedBroker]:
        until = time.monotonic() + START_TIMEOUT
        with self._broker.alone(wait=START_TIMEOUT):
            running = self._broker.found(until)
            if running is None:
                self._broker.tell_loss()
                folder = BrokerFolder.followed(self._broker.folder.path)
                served = ServedBroker(folder)
                if folder.begin(served.address):
                    return folder, served
                running = self._broker.running()
        if running is None:
            raise ConsoleError("Another embedded broker came up meanwhile, and has ended. Try again.")
        raise ConsoleError(
            f"The embedded broker runs already, at {running.address} (pid {running.pid}), with {self._broker.held()}. "
            f"`kill {running.pid}` ends it."
        )
