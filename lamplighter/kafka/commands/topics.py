"""`kafka:topics`: shows, creates and verifies the topics of this application."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.monitoring.counting import Counting
from lamplighter.kafka.settings.tiers import LONG
from lamplighter.kafka.topics.metadata import missing_text
from lamplighter.kafka.topics.topics import DAY_MS, Topic, Topics

HEADERS = ["topic", "partitions", "replicas", "retention", "min ISR", "max bytes", "problem"]


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
        config = self._connections.client_config(connection)
        topics = Topics(settings, config)
        names = list(dict.fromkeys((settings.queue, *settings.written, *settings.tiers.topics())))
        missing = topics.missing(names)
        if missing and create:
            missing = self._create(topics, missing, names)
        if settings.is_embedded:
            self.output.info("On the embedded broker topics come by themselves, and go with it.")
        # Long delays that were put into topics are moved out of them, whatever the store is now.
        left = [name for name in map(settings.tiers.topic, LONG) if name not in names]
        found = topics.describe([name for name in (*names, *left) if name not in missing])
        problems = [topics.problems(topic) for topic in found]
        self._show(found, problems)
        if missing:
            self.output.error(missing_text(missing, settings.brokers))
        if not settings.is_embedded:
            for stray in Counting(settings, lambda: config).strays():
                self.output.warn(str(stray))
        return int(bool(missing) or any(problems))

    def _create(self, topics: Topics, missing: list[str], names: list[str]) -> list[str]:
        topics.create(missing)
        self.output.info(f"Created: {', '.join(missing)}.")
        if not topics.warm_up(missing[0]):
            self.output.warn("No group could be tried out here; a new cluster's first worker waits some seconds.")
        return topics.missing(names)

    def _show(self, found: list[Topic], problems: list[list[str]]) -> None:
        rows = [_row(topic, wrong) for topic, wrong in zip(found, problems, strict=True)]
        if rows:
            self.output.table(HEADERS, rows)


def _row(topic: Topic, problems: list[str]) -> list[object]:
    retention = topic.config.get("retention.ms", "")
    days = f"{int(retention) / DAY_MS:.3g} d" if retention.isdigit() else ("for ever" if retention == "-1" else "")
    told = [topic.config.get(key, "") for key in ("min.insync.replicas", "max.message.bytes")]
    return [topic.name, topic.partitions, topic.replicas, days, *told, "; ".join(problems)]
