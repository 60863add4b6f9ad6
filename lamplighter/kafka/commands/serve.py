"""`kafka:serve`: runs the embedded broker in the foreground."""

import signal
import threading

from lamplighter.console.command import Command
from lamplighter.contracts import Application
from lamplighter.errors import ConsoleError
from lamplighter.kafka.embedded.broker import NOTICE, EmbeddedBroker
from lamplighter.kafka.embedded.serve import serve


class ServeCommand(Command):
    """Run the embedded broker in the foreground."""

    name = "kafka:serve"
    description = "Run the embedded broker in the foreground"

    def __init__(self, app: Application, broker: EmbeddedBroker) -> None:
        self._app = app
        self._broker = broker

    def handle(self) -> None:
        """Serve until Ctrl-C."""
        running = self._broker.running()
        if running is not None:
            raise ConsoleError(f"The embedded broker runs already, at {running.address} (pid {running.pid}).")
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        self.output.info(NOTICE)
        serve(self._app.path("storage", "framework"), linger=None, ended=ended)
