"""The Kafka connections of the configuration: their settings, and where their brokers are."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lamplighter.contracts import Application, Config, Databases, Message
from lamplighter.errors import ConfigError
from lamplighter.kafka.clients import check_clients
from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.kafka.embedded.room import Room
from lamplighter.kafka.merge import Merge
from lamplighter.kafka.queue import KafkaQueue, Place, any_partition
from lamplighter.kafka.settings import KafkaSettings, read_settings


class LazyDatabases:
    """Makes the application's databases when something has to be kept there."""

    def __init__(self, make: Callable[[], Databases]) -> None:
        self._make = make

    def __call__(self) -> Databases:
        """The databases."""
        return self._make()


class KafkaConnections:
    """Settings and clients by the connection's name."""

    def __init__(
        self,
        app: Application,
        config: Config,
        merge: Merge,
        embedded: EmbeddedBroker,
        clock: BrokerClock,
        databases: LazyDatabases,
    ) -> None:
        self._app = app
        self._config = config
        self._merge = merge
        self._embedded = embedded
        self._clock = clock
        self._databases = databases

    def settings(self, name: str) -> KafkaSettings:
        """The settings of a connection.

        Raises:
            ConfigError: there is no such connection, it has another driver, a key is wrong, or librdkafka refuses it.
        """
        options = self._config.get(f"queue.connections.{name}")
        if not isinstance(options, dict) or options.get("driver") != "kafka":
            raise ConfigError(f"config/queue.py and config/kafka.py have no connection {name!r} with the driver kafka.")
        where = self._merge.origin(name)
        settings = read_settings(options, where=where)
        certificates = settings.ssl_ca_location
        if certificates not in ("", "probe"):  # librdkafka's word for the usual places
            # Commands work from any folder; librdkafka would look in the current one.
            settings = replace(settings, ssl_ca_location=str(self._app.path(certificates)))
        check_clients(settings, where=where)
        return settings

    def client_config(self, name: str) -> dict[str, Any]:
        """What any client of the connection's brokers is told; starts the embedded broker where it is meant."""
        settings = self.settings(name)
        return settings.client_config(self._address(settings))

    def queue(self, name: str) -> KafkaQueue:
        """The connection, for pushing and popping; no client is made yet."""
        settings = self.settings(name)
        return KafkaQueue(
            name,
            settings,
            address=lambda: self._address(settings),
            place=self._place(settings),
            is_gone=self._has_ended if settings.is_embedded else lambda address: False,
            clock=self._clock,
            databases=self._databases,
            names=self._app.path("storage/framework/movers"),
        )

    def dead_letters(self, name: str) -> DeadLetters:
        """The topic of a connection's failed jobs; no client is made yet."""
        settings = self.settings(name)
        return DeadLetters(name, settings, address=lambda: self._address(settings), place=self._place(settings))

    def _place(self, settings: KafkaSettings) -> Place:
        """What chooses the partition of a push."""
        if not settings.is_embedded:
            return any_partition
        rooms: list[Room] = []

        def place(topic: str, message: Message) -> int:
            if not rooms:
                rooms.append(self._room(settings))
            return rooms[0].place(topic, message)

        return place

    def _room(self, settings: KafkaSettings) -> Room:
        """What keeps the pushes of a connection within the embedded broker."""
        connections = self._config.mapping("queue.connections", {})
        every = [self.settings(name) for name, options in connections.items() if options.get("driver") == "kafka"]
        groups: dict[str, dict[str, None]] = {}
        for each in every:
            groups.setdefault(each.queue, {})[each.consumer_group_id] = None
            for topic in each.tiers.topics():
                groups.setdefault(topic, {})[each.delays_group] = None
        return Room(
            settings.client_config(self._address(settings)),
            {topic: tuple(readers) for topic, readers in groups.items()},
            group=settings.consumer_group_id,
            written={topic for each in every for topic in each.topics},
            pushes=LargePushes(self._embedded.folder.path),
        )

    def _has_ended(self, address: str) -> bool:
        running = self._embedded.running()
        return running is None or running.address != address

    def _address(self, settings: KafkaSettings) -> str | None:
        return self._embedded.address() if settings.is_embedded else None
