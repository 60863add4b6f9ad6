"""Adds the `kafka` driver, and merges config/kafka.py into config/queue.py."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lamplighter.contracts import Config, Message
from lamplighter.queue.manager import QueueManager
from lamplighter.support.provider import CommandEntry, ServiceProvider

if TYPE_CHECKING:
    from lamplighter.kafka.queue import KafkaQueue
    from lamplighter.kafka.settings import KafkaSettings

QUEUE_FILE = "config/queue.py"
KAFKA_FILE = "config/kafka.py"
DEFAULTS: Mapping[str, Any] = {"connections": {"kafka": {"driver": "kafka"}}}


class KafkaServiceProvider(ServiceProvider):
    """Kafka's part of the application; nothing else knows that Kafka exists."""

    def register(self) -> None:
        """Merge the configuration and add the driver; no client is made before a connection is used."""
        config = self.app.make(Config)
        merge = Merge(queue=config.mapping("queue", {}), kafka=config.mapping("kafka", {}))
        config.set("queue", merge.result())
        self.app.instance(Merge, merge)
        self.app.extend(QueueManager, self._with_driver)
        self.commands(
            CommandEntry(
                "kafka:topics", "Show, create and verify the topics", "lamplighter.kafka.commands.topics:TopicsCommand"
            ),
            CommandEntry(
                "kafka:serve",
                "Run the embedded broker in the foreground",
                "lamplighter.kafka.commands.serve:ServeCommand",
            ),
        )

    def _with_driver(self, manager: QueueManager, _: object) -> QueueManager:
        manager.extend("kafka", self._connect)
        return manager

    def _connect(self, name: str, options: Mapping[str, Any]) -> "KafkaQueue":
        from lamplighter.kafka.queue import KafkaQueue, any_partition
        from lamplighter.kafka.settings import read_settings

        settings = read_settings(options, where=self.app.make(Merge).origin(name))
        if not settings.is_embedded:
            return KafkaQueue(name, settings, address=lambda: None, place=any_partition)
        return self._connect_embedded(name, settings)

    def _connect_embedded(self, name: str, settings: "KafkaSettings") -> "KafkaQueue":
        from lamplighter.kafka.embedded import EmbeddedBroker, Room

        from lamplighter.kafka.queue import KafkaQueue

        broker = self.app.make(EmbeddedBroker)
        rooms: list[Room] = []

        def address() -> str:
            broker.attach()
            return broker.address()

        def place(topic: str, message: Message) -> int:
            if not rooms:
                rooms.append(Room(address(), {settings.queue: settings.consumer_group_id}))
            return rooms[0].place(topic, message)

        return KafkaQueue(name, settings, address=address, place=place)


class Merge:
    """config/kafka.py under config/queue.py, connection by connection and key by key; later wins."""

    def __init__(self, *, queue: Mapping[str, Any], kafka: Mapping[str, Any]) -> None:
        self._queue = queue
        self._kafka = kafka

    def result(self) -> dict[str, Any]:
        """The whole of `queue`, with the connections of both files."""
        connections: dict[str, Any] = {}
        for layer in (DEFAULTS, self._kafka, self._queue):
            for name, options in layer.get("connections", {}).items():
                known = connections.get(name)
                both = isinstance(known, dict) and isinstance(options, dict)
                connections[name] = {**(known or {}), **options} if both else options
        return {**self._queue, "connections": connections}

    def origin(self, connection: str) -> Callable[[str], str]:
        """Tells for each key of a connection which file said it."""

        def file_of(key: str) -> str:
            said = self._queue.get("connections", {}).get(connection, {})
            place = f"connections.{connection}"
            return f"{QUEUE_FILE} ({place})" if key in said else f"{KAFKA_FILE} ({place})"

        return file_of
