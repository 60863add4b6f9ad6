"""Adds the `kafka` driver, and merges config/kafka.py into config/queue.py."""

from collections.abc import Mapping
from typing import Any

from lamplighter.contracts import Config, Queue
from lamplighter.kafka.settings.merge import Merge
from lamplighter.queue.manager import QueueManager
from lamplighter.support.provider import CommandEntry, ServiceProvider

COMMANDS = (
    CommandEntry(
        "kafka:topics", "Show, create and verify the topics", "lamplighter.kafka.commands.topics:TopicsCommand"
    ),
    CommandEntry(
        "kafka:lag",
        "Show what is left of each partition, and what holds it up",
        "lamplighter.kafka.commands.lag:LagCommand",
    ),
    CommandEntry(
        "kafka:serve", "Run the embedded broker in the foreground", "lamplighter.kafka.commands.serve:ServeCommand"
    ),
)


class KafkaServiceProvider(ServiceProvider):
    """Kafka's part of the application; nothing else knows that Kafka exists."""

    def register(self) -> None:
        """Merge the configuration and add the driver; no client is made before a connection is used."""
        config = self.app.make(Config)
        merge = Merge(queue=config.mapping("queue", {}), kafka=config.mapping("kafka", {}))
        config.set("queue", merge.result())
        self.app.instance(Merge, merge)
        self.app.singleton("lamplighter.kafka.embedded.broker:EmbeddedBroker", self._embedded)
        self.app.singleton("lamplighter.kafka.reading.replay:Replay", self._replay)
        self.app.singleton("lamplighter.kafka.delays.clock:BrokerClock", self._clock)
        self.app.singleton("lamplighter.kafka.connections:LazyDatabases", self._databases)
        self.app.extend(QueueManager, self._with_driver)
        self.app.extend("lamplighter.queue.failed:FailedJobs", self._with_dead_letters)
        self.commands(*COMMANDS)

    def _with_driver(self, manager: QueueManager, _: object) -> QueueManager:
        manager.extend("kafka", self._connect)
        return manager

    def _clock(self) -> Any:
        from lamplighter.kafka.delays.clock import BrokerClock

        return BrokerClock()

    def _databases(self) -> Any:
        from lamplighter.kafka.connections import LazyDatabases

        def make() -> Any:
            from lamplighter.database.manager import DatabaseManager

            return self.app.make(DatabaseManager)

        return LazyDatabases(make)

    def _with_dead_letters(self, table: Any, _: object) -> Any:
        connections = self.app.make(Config).mapping("queue.connections", {})
        named = [
            name
            for name, options in connections.items()
            if options.get("driver") == "kafka" and options.get("dead_letter_topic")
        ]
        if not named:
            return table
        from lamplighter.kafka.connections import KafkaConnections
        from lamplighter.kafka.deadletters.store import DeadLetterFailedJobs

        made = self.app.make(KafkaConnections)
        return DeadLetterFailedJobs(table, {name: made.dead_letters(name) for name in named})

    def _connect(self, name: str, options: Mapping[str, Any]) -> Queue:
        from lamplighter.kafka.connections import KafkaConnections

        return self.app.make(KafkaConnections).queue(name)

    def _embedded(self) -> Any:
        from lamplighter.kafka.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(self.app.path("storage", "framework"), environment=self.app.environment)

    def _replay(self) -> Any:
        from lamplighter.kafka.connections import KafkaConnections
        from lamplighter.kafka.reading.replay import Replay

        connections = self.app.make(KafkaConnections)
        return Replay(connections.client_config("kafka"), connections.settings("kafka").queue)
