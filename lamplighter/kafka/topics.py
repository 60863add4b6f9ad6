"""Shows, creates and verifies the topics of an application."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the stubs name only the client as exported
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.metadata import missing_topics
from lamplighter.kafka.settings import KafkaSettings

TIMEOUT = 10.0  # seconds for one question to the brokers
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as the brokers have it."""

    name: str
    partitions: int
    replicas: int
    config: Mapping[str, str]

    def problems(self) -> list[str]:
        """What would lose jobs, or keep them from being written."""
        found = []
        if "compact" in self.config.get("cleanup.policy", ""):
            found.append("cleanup.policy is compact: jobs of one key would delete each other")
        if int(self.config.get("min.insync.replicas", "1")) > self.replicas:
            found.append("min.insync.replicas is more than its replicas: nothing can be written")
        return found


class Topics:
    """The topics of one connection's brokers."""

    def __init__(self, settings: KafkaSettings, config: Mapping[str, Any]) -> None:
        self._settings = settings
        self._brokers = str(config["bootstrap.servers"])
        # Futures of the client end with it, so it is kept.
        self._admin = AdminClient(dict(config))

    def missing(self, names: Sequence[str]) -> list[str]:
        """Which of the topics are not there; on the embedded broker this makes them.

        Raises:
            BrokerUnavailable: no broker answers.
        """
        try:
            return missing_topics(self._admin, names, timeout=TIMEOUT)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def create(self, names: Sequence[str]) -> None:
        """Make topics with the connection's partitions, replication and retention.

        Raises:
            QueueError: the brokers refuse.
        """
        config = {"cleanup.policy": "delete", "retention.ms": str(self._settings.retention_days * DAY_MS)}
        wanted = [
            NewTopic(name, self._settings.partitions, self._settings.replication, config=config) for name in names
        ]
        for name, future in self._admin.create_topics(wanted, operation_timeout=TIMEOUT).items():
            self._await(name, future)

    def describe(self, names: Sequence[str]) -> list[Topic]:
        """The topics as they are."""
        if not names:
            return []
        try:
            found = self._admin.list_topics(timeout=TIMEOUT).topics
        except KafkaException as error:
            raise self._unavailable(error) from error
        configs = self._configs(names)
        topics = []
        for name in names:
            partitions = found[name].partitions
            replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
            topics.append(Topic(name, len(partitions), replicas, configs.get(name, {})))
        return topics

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if self._settings.is_embedded:
            return {}
        wanted = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found = {}
        for resource, future in self._admin.describe_configs(wanted, request_timeout=TIMEOUT).items():
            entries = self._await(resource.name, future)
            found[resource.name] = {key: entry.value for key, entry in entries.items()}
        return found

    def _await(self, name: str, future: "Future[Any]") -> Any:
        try:
            return future.result(TIMEOUT + 1)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return None
            raise QueueError(f"The brokers {self._brokers} refuse the topic {name}: {error.args[0].str()}") from error

    def _unavailable(self, error: KafkaException) -> BrokerUnavailable:
        return BrokerUnavailable(f"The brokers {self._brokers} can't be reached: {error.args[0].str()}")
