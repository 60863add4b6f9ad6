"""Shows, creates and verifies the topics of an application."""

import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.settings.native import (
    AdminClient,
    ConfigResource,
    Consumer,
    KafkaError,
    KafkaException,
    NewTopic,
    ResourceType,
    TopicPartition,
)
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.topics import delay_topics
from lamplighter.kafka.topics.metadata import missing_topics
from lamplighter.support.made_once import MadeOnce

TIMEOUT = 8.0  # seconds for one question to the brokers
WARM_UP = 15.0  # seconds for a first group at most
DAY_MS = 24 * 60 * 60 * 1000
BROKER_MAX_BYTES = 1_048_588  # what a topic takes where nobody says otherwise
LETTER_BYTES = 65_536  # what a dead letter has beyond its job, at most: the trace has 16 kB


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as the brokers have it; `config` is empty where they can't tell."""

    name: str
    partitions: int
    replicas: int
    config: Mapping[str, str]

    def problems(self, *, max_message_bytes: int = 0) -> list[str]:
        """What would lose jobs, or keep them from being written."""
        found = []
        if self.partitions < 1:
            found.append("it has no partition")
        if "compact" in self.config.get("cleanup.policy", ""):
            found.append("cleanup.policy is compact: jobs of one key would delete each other")
        if self.config.get("retention.ms") == "0" or self.config.get("retention.bytes") == "0":
            found.append("its retention is 0: jobs are deleted at once")
        if int(self.config.get("min.insync.replicas", "1")) > self.replicas:
            found.append("min.insync.replicas is more than its replicas: nothing can be written")
        limit = int(self.config.get("max.message.bytes", max_message_bytes))
        if limit < max_message_bytes:
            found.append(f"max.message.bytes is less than what the connection sends, {max_message_bytes:,}")
        return found


class Topics:
    """The topics of one connection's brokers."""

    def __init__(self, settings: KafkaSettings, config: Mapping[str, Any]) -> None:
        self._settings = settings
        # What goes wrong is raised; librdkafka's log would repeat it each 50 ms.
        self._config: dict[str, Any] = {**config, "log_level": 0}
        self._brokers = str(config["bootstrap.servers"])
        self._reason = ""
        self._made = MadeOnce(lambda: AdminClient({**self._config, "error_cb": self._on_error}))

    def missing(self, names: Sequence[str]) -> list[str]:
        """Which of the topics are not there; on the embedded broker this makes them.

        Raises:
            BrokerUnavailable: no broker answers.
        """
        try:
            if self._settings.is_embedded:
                return missing_topics(self._admin, names, timeout=TIMEOUT)
            # Asking for a topic by its name would make it, where brokers do that by themselves.
            there = self._admin.list_topics(timeout=TIMEOUT).topics
        except KafkaException as error:
            raise self._unavailable(error) from error
        return [name for name in names if name not in there]

    def create(self, names: Sequence[str]) -> None:
        """Make topics with the connection's partitions, replication and retention.

        Raises:
            QueueError: the brokers refuse.
            BrokerUnavailable: no broker answers.
        """
        settings = self._settings
        wanted = [
            NewTopic(name, self._partitions_of(name), settings.replication, config=self._config_of(name))
            for name in names
        ]
        futures = self._admin.create_topics(wanted, operation_timeout=TIMEOUT, request_timeout=TIMEOUT)
        for name, future in futures.items():
            self._await(name, future)
        self._await_leaders(names)

    def message_bytes(self, name: str) -> int:
        """What a topic has to take: a dead letter is larger than its job."""
        most = self._settings.max_message_bytes
        return most + LETTER_BYTES if name == self._settings.dead_letter_topic else most

    def describe(self, names: Sequence[str]) -> list[Topic]:
        """The topics as they are, without those that are missing."""
        if not names:
            return []
        try:
            found = self._admin.list_topics(timeout=TIMEOUT).topics
        except KafkaException as error:
            raise self._unavailable(error) from error
        names = [name for name in names if name in found]
        configs = self._configs(names)
        topics = []
        for name in names:
            partitions = found[name].partitions
            replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
            topics.append(Topic(name, len(partitions), replicas, configs.get(name, {})))
        return topics

    def warm_up(self, topic: str) -> bool:
        """Let a group of no consequence join and commit once; False when that was not possible.

        The first group of a new cluster waits more than 3 s, while the brokers make the topic of the groups' offsets:
        better here than before the first job. It bears a name of its own, so that no worker's offset moves.
        """
        group = f"lamplighter-topics-{uuid.uuid4()}"
        committed: list[KafkaError | None] = []
        config = {
            **self._config,
            "group.id": group,
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "on_commit": lambda error, _: committed.append(error),
        }
        consumer = Consumer(config)
        until = time.monotonic() + WARM_UP
        try:
            consumer.subscribe([topic])
            while not consumer.assignment() and time.monotonic() < until:
                consumer.poll(0.1)
            if consumer.assignment():
                consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=True)
            while not committed and consumer.assignment() and time.monotonic() < until:
                consumer.poll(0.1)
            consumer.unsubscribe()
        finally:
            consumer.close()
        # It would be forgotten by itself after `offsets.retention.minutes`.
        try:
            for future in self._admin.delete_consumer_groups([group]).values():
                future.result(TIMEOUT)
        except (KafkaException, TimeoutError):
            self._made.forget()  # a question about a group that has no answer ends with its client alone
        return committed == [None]

    def problems(self, topic: Topic) -> list[str]:
        """What is wrong with a topic, in view of what it is for."""
        found = topic.problems(max_message_bytes=self.message_bytes(topic.name))
        if self._settings.tiers.has(topic.name):
            found += delay_topics.problems(self._settings, topic.name, topic.config)
        return found

    @property
    def _admin(self) -> AdminClient:
        # Futures of the client end with it, so it is kept.
        return self._made.get()

    def _partitions_of(self, name: str) -> int:
        if name in self._settings.tiers.topics():
            return delay_topics.partitions_of(self._settings, name)
        return self._settings.partitions

    def _config_of(self, name: str) -> dict[str, str]:
        if name in self._settings.tiers.topics():
            return delay_topics.config_of(self._settings)
        config = {"cleanup.policy": "delete", "retention.ms": str(self._settings.retention_days * DAY_MS)}
        if name == self._settings.dead_letter_topic:
            # Also what others have put onto a topic, up to the brokers' own limit, has to fit with its trace.
            config["max.message.bytes"] = str(max(BROKER_MAX_BYTES + LETTER_BYTES, self.message_bytes(name)))
        return config

    def _await_leaders(self, names: Sequence[str]) -> None:
        """Brokers answer "created" a moment before they tell of it."""
        until = time.monotonic() + TIMEOUT
        while self.missing(names) and time.monotonic() < until:
            time.sleep(0.1)

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if self._settings.is_embedded or not names:
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
        except TimeoutError as error:
            raise BrokerUnavailable(f"The brokers {self._brokers} did not answer within {TIMEOUT:g} s.") from error
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return None
            if reason.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                raise self._unavailable(error) from error
            raise QueueError(f"The brokers {self._brokers} refuse the topic {name}: {reason.str()}") from error

    def _unavailable(self, error: KafkaException) -> BrokerUnavailable:
        self._admin.poll(0)
        reason = self._reason or error.args[0].str()
        return BrokerUnavailable(f"The brokers {self._brokers} can't be reached: {reason}")

    def _on_error(self, error: KafkaError) -> None:
        # The one that says why; "all brokers are down" follows it.
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._reason = error.str()
