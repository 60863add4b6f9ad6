"""The Kafka connections of the configuration: their settings, and where their brokers are."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lamplighter.contracts import Application, Config, Databases
from lamplighter.errors import ConfigError
from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.embedded.address import BrokerAddress, Placements
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.placement import Placement
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.kafka.embedded.topics import TopicReaders
from lamplighter.kafka.producing.partitioner import Partitioner, any_partition
from lamplighter.kafka.queue import KafkaQueue
from lamplighter.kafka.settings.clients import check_clients
from lamplighter.kafka.settings.merge import Merge
from lamplighter.kafka.settings.settings import KafkaSettings, read_settings
from lamplighter.queue.manager import own_options


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
        self._where = BrokerAddress(lambda: embedded.address(self._readers()), embedded.folder.is_gone)
        self._clock = clock
        self._databases = databases

    def settings(self, name: str) -> KafkaSettings:
        """The settings of a connection.

        Raises:
            ConfigError: there is no such connection, it has another driver, a key is wrong, or librdkafka refuses it.
        """
        settings = self._read(name)
        check_clients(settings, where=self._merge.origin(name))
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
            partitioner=self._partitioner(settings),
            where=self._where if settings.is_embedded else None,
            is_gone=self._embedded.folder.is_gone if settings.is_embedded else lambda address: False,
            clock=self._clock,
            databases=self._databases if self._config.get("database.connections") else None,
            instance_ids=self._app.path("storage/framework/movers"),
            known=tuple(self._config.mapping("queue.connections", {})),
        )

    def dead_letters(self, name: str) -> DeadLetters:
        """The topic of a connection's failed jobs; no client is made yet."""
        settings = self.settings(name)
        return DeadLetters(
            name,
            settings,
            address=lambda: self._address(settings),
            partitioner=self._partitioner(settings),
            where=self._where if settings.is_embedded else None,
        )

    def _partitioner(self, settings: KafkaSettings) -> Partitioner:
        """What chooses the partition of a push."""
        if not settings.is_embedded:
            return any_partition
        return Placements(self._where, lambda address: self._placement(settings, address)).place

    def _placement(self, settings: KafkaSettings, address: str) -> Placement:
        """What keeps the pushes of a connection within the embedded broker."""
        return Placement(
            settings.client_config(address),
            self._readers().groups,
            group=settings.group,
            written={topic for each in self._embedded_settings() for topic in each.topics},
            pushes=LargePushes(self._embedded.folder.path),
        )

    def _readers(self) -> TopicReaders:
        """Which groups of the application read which topics of the embedded broker."""
        every = self._embedded_settings()
        groups: dict[str, list[str]] = {}
        for each in every:
            for topic, group in {
                each.queue: each.group,
                **dict.fromkeys(each.tiers.topics(), each.delays_group),
            }.items():
                if group not in groups.setdefault(topic, []):
                    groups[topic].append(group)
        letters = sorted({each.dead_letter_topic for each in every} - {""})
        # With a table beside it a dead letter is the second copy of a failed job.
        is_only_copy = self._config.get("queue.failed.driver", "") in (None, "null")
        return TopicReaders(
            groups,
            others=sorted({each.group for each in every}),
            written=sorted({topic for each in every for topic in each.topics} | set(() if is_only_copy else letters)),
            kept=letters if is_only_copy else [],
        )

    def _embedded_settings(self) -> list[KafkaSettings]:
        """The settings of each connection that is on the embedded broker."""
        found: list[KafkaSettings] = []
        for name, options in self._config.mapping("queue.connections", {}).items():
            if isinstance(options, dict) and options.get("driver") == "kafka":
                # The mistake of another connection is told to whoever uses that one.
                with suppress(ConfigError):
                    found.append(self._read(name))
        return [settings for settings in found if settings.is_embedded]

    def _read(self, name: str) -> KafkaSettings:
        options = self._config.get(f"queue.connections.{name}")
        if not isinstance(options, dict) or options.get("driver") != "kafka":
            known = [
                each
                for each, found in self._config.mapping("queue.connections", {}).items()
                if isinstance(found, Mapping) and found.get("driver") == "kafka"
            ]
            raise ConfigError(
                f"config/queue.py and config/kafka.py have no connection {name!r} with the driver kafka; they have "
                f"{', '.join(sorted(known)) or 'none'}."
            )
        settings = read_settings(own_options(options), where=self._merge.origin(name))
        certificates = settings.ssl_ca_location
        if certificates not in ("", "probe"):  # librdkafka's word for the usual places
            # Commands work from any folder; librdkafka would look in the current one.
            settings = replace(settings, ssl_ca_location=str(self._app.path(certificates)))
        return settings

    def _address(self, settings: KafkaSettings) -> str | None:
        return self._embedded.address(self._readers()) if settings.is_embedded else None
