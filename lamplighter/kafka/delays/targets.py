"""Where a record of a delay topic may go: its writer has chosen the topic, and may be anybody."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.delays.delayed_message import DelayedMessage, unwrap
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.settings.native import KafkaException
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.settings.tiers import Tiers
from lamplighter.kafka.topics.metadata import missing_text

LOOK_AGAIN = 5.0  # seconds until a topic that is missing is looked for again
OF_KAFKA = "__"  # what the names of Kafka's own topics begin with


class Targets:
    """Reads records of delay topics, and knows which topics a mover may write to, and which are there.

    Args:
        default_queue: where a record goes that this framework has not written, to fail there with its bytes.
        refused: topics that no job belongs to, such as the dead-letter topic.
        makes_topics: whether asking for a topic makes it, as on the embedded broker.
    """

    def __init__(
        self, tiers: Tiers, brokers: str, *, default_queue: str, refused: Collection[str], makes_topics: bool
    ) -> None:
        self._tiers = tiers
        self._brokers = brokers
        self._default_queue = default_queue
        self._refused = frozenset(refused)
        self._makes_topics = makes_topics
        self._there: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._reason: str | None = None  # why the last look told nothing

    def read(self, record: Any) -> DelayedMessage:
        """The message of a record, whoever has written it."""
        delayed = unwrap(record)
        if delayed is not None and self._takes(delayed.topic):
            return delayed
        message = Message(record.value() or b"", record.key(), headers_of(record))
        return DelayedMessage(self._default_queue, 0.0, 0.0, message, is_ours=False)

    def check(self, topic: str, topics: Callable[[], Iterable[str]]) -> None:
        """Look whether a topic is there, without making it: a name in a record must not make one.

        Args:
            topics: lists all topics of the brokers, which makes none.

        Raises:
            QueueError: it is missing.
            BrokerUnavailable: no broker answers.
        """
        if self._makes_topics or topic in self._there:
            return
        if time.monotonic() - self._looked_at >= LOOK_AGAIN:
            self._look(topics)
        if topic in self._there:
            return
        if self._reason is not None:
            raise BrokerUnavailable(f"The brokers {self._brokers} don't tell their topics: {self._reason}")
        raise QueueError(missing_text([topic], self._brokers))

    def forget(self, topic: str) -> None:
        """A topic has refused a message, and may be gone: look for it before the next is produced."""
        self._there -= {topic}

    def _takes(self, topic: str) -> bool:
        """Whether a job may be meant for this topic at all."""
        return not (topic.startswith(OF_KAFKA) or topic in self._refused or self._tiers.has(topic))

    def _look(self, topics: Callable[[], Iterable[str]]) -> None:
        self._looked_at = time.monotonic()
        try:
            self._there, self._reason = frozenset(topics()), None
        except KafkaException as error:
            self._reason = error.args[0].str()


def targets_of(settings: KafkaSettings) -> Targets:
    """The targets of a connection."""
    return Targets(
        settings.tiers,
        settings.brokers,
        default_queue=settings.queue,
        refused=[settings.dead_letter_topic],
        makes_topics=settings.is_embedded,
    )
