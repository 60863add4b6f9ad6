"""`sample:publish`: puts sample events onto the topic."""

from typing import Annotated

import typer

from database.seeders.sample_events import sample_events
from lamplighter import Command, Dispatcher
from lamplighter.contracts import Application, Config

CONNECTION = "kafka"
EMBEDDED = "embedded"


class SamplePublishCommand(Command):
    """Publish the sample events of a directory of services."""

    name = "sample:publish"
    description = "Publish the sample events of a directory of services"

    def __init__(self, app: Application, config: Config, dispatcher: Dispatcher) -> None:
        self._app = app
        self._config = config
        self._dispatcher = dispatcher

    def handle(
        self,
        if_embedded: Annotated[bool, typer.Option("--if-embedded", help="Only to the embedded broker")] = False,
        force: Annotated[bool, typer.Option("--force", help="Do not ask")] = False,
    ) -> int:
        """Push every event and wait for the broker; asks first unless the environment is local."""
        brokers = self._config.get(f"queue.connections.{CONNECTION}.brokers")
        if if_embedded and brokers != EMBEDDED:
            self.output.info(f"The brokers are [{brokers}]: no samples are published.")
            return 0
        if not (force or self._app.environment == "local" or self._may(brokers)):
            self.output.warn("Nothing was published. Add --force to publish without being asked.")
            return 1
        count = self._dispatcher.push_many(sample_events(), connection=CONNECTION)
        self.output.info(f"{count} sample events are on the topic.")
        return 0

    def _may(self, brokers: object) -> bool:
        return self.output.confirm(f"Publish sample events to [{brokers}] in {self._app.environment}?")
