"""`kafka:topics`: shows, creates and verifies the topics of this application."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.metadata import missing_text
from lamplighter.kafka.topics import Topic, Topics


class TopicsCommand(Command):
    """Show, create and verify the topics."""

    name = "kafka:topics"
    description = "Show, create and verify the topics"

    def __init__(self, connections: KafkaConnections) -> None:
        self._connections = connections

    def handle(
        self,
        connection: Annotated[str, typer.Argument(help="The connection")] = "kafka",
        create: Annotated[bool, typer.Option("--create", help="Create what is missing")] = False,
    ) -> int:
        """The topic that is worked, and those that are written to; 1 when something is missing or wrong."""
        settings = self._connections.settings(connection)
        topics = Topics(settings, self._connections.client_config(connection))
        names = list(dict.fromkeys((settings.queue, *settings.topics)))
        missing = topics.missing(names)
        if missing and create:
            topics.create(missing)
            self.output.info(f"Created: {', '.join(missing)}.")
            missing = topics.missing(names)
        found = topics.describe([name for name in names if name not in missing])
        self.output.table(["topic", "partitions", "replicas", "retention", "min ISR", "problem"], map(_row, found))
        if settings.is_embedded:
            self.output.info("On the embedded broker topics come by themselves.")
        if missing:
            self.output.error(missing_text(missing, settings.brokers))
        return int(bool(missing) or any(topic.problems() for topic in found))


def _row(topic: Topic) -> list[object]:
    retention = topic.config.get("retention.ms", "")
    days = f"{int(retention) / 86_400_000:g} d" if retention.isdigit() else ("for ever" if retention == "-1" else "")
    isr = topic.config.get("min.insync.replicas", "")
    return [topic.name, topic.partitions, topic.replicas, days, isr, "; ".join(topic.problems())]
