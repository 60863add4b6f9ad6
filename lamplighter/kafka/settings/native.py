"""All that the driver takes from confluent_kafka, so that one module knows whether another version has it.

Its clients are ours: a child of a fork neither uses nor frees those of its parent.
"""

from concurrent.futures import Future
from typing import Any

import confluent_kafka
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    TIMESTAMP_LOG_APPEND_TIME,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
    admin,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from lamplighter.errors import ForkError
from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever

__all__ = [
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "OFFSET_INVALID",
    "TIMESTAMP_LOG_APPEND_TIME",
    "AdminClient",
    "ConfigResource",
    "Consumer",
    "ConsumerGroupState",
    "ConsumerGroupTopicPartitions",
    "IsolationLevel",
    "KafkaError",
    "KafkaException",
    "Message",
    "NewTopic",
    "OffsetSpec",
    "Producer",
    "ResourceType",
    "TopicCollection",
    "TopicPartition",
]

LONGEST = 3600.0  # seconds: the longest timeout that librdkafka takes for a request


class Producer(confluent_kafka.Producer):
    """As confluent_kafka's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        watch(self, in_child=_leave_producer)


class Consumer(confluent_kafka.Consumer):
    """As confluent_kafka's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        watch(self, in_child=_leave_consumer)


class AdminClient(admin.AdminClient):
    """As confluent_kafka's, but that what is asked of a group's coordinator has no timeout of its own.

    librdkafka (2.16) ends the process by an assertion, `rd_kafka_enq_once_del_source_return`, where such a question has
    timed out before the coordinator was known, and the coordinator is found later. So whoever asks measures the time
    itself, and lets go of the client when it is over: that ends the question, too, and harms nobody.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        watch(self, in_child=_leave_admin)

    # confluent_kafka's own class has other signatures than the one that it is made of, too.

    def describe_consumer_groups(  # type: ignore[override]
        self, group_ids: list[str], **options: Any
    ) -> "dict[str, Future[Any]]":
        """Who is in each group."""
        return super().describe_consumer_groups(group_ids, **{**options, "request_timeout": LONGEST})

    def list_consumer_group_offsets(  # type: ignore[override]
        self, groups: list[ConsumerGroupTopicPartitions], **options: Any
    ) -> "dict[str, Future[Any]]":
        """What groups have committed."""
        return super().list_consumer_group_offsets(groups, **{**options, "request_timeout": LONGEST})

    def delete_consumer_groups(  # type: ignore[override]
        self, group_ids: list[str], **options: Any
    ) -> "dict[str, Future[Any]]":
        """Delete groups that have no members."""
        return super().delete_consumer_groups(group_ids, **{**options, "request_timeout": LONGEST})


# In a child a client becomes one of these, since code that was under way may still have it in a variable: a push that
# was taking its messages from a generator, a reading that is closed when its generator is freed. A call would wait for
# a lock that was held by a thread which is not there.

_HARMLESS = frozenset({"close", "unassign", "unsubscribe"})  # what a `finally` calls


def _refuse(client: object, name: str) -> Any:
    if name in _HARMLESS:
        return _nothing
    if name.startswith("__"):
        return object.__getattribute__(client, name)
    raise ForkError(
        "This client of Kafka was made before the process was forked, and is the parent's. What was under way with it "
        "goes on in the parent alone; dispatch or read again, with a client of this process."
    )


def _nothing(*arguments: object) -> None:
    """The parent does it."""


class _ParentsProducer(confluent_kafka.Producer):
    __getattribute__ = _refuse
    __exit__ = _nothing

    def __len__(self) -> int:
        return 0


class _ParentsConsumer(confluent_kafka.Consumer):
    __getattribute__ = _refuse
    __exit__ = _nothing


class _ParentsAdminClient(admin.AdminClient):
    __getattribute__ = _refuse
    __exit__ = _nothing

    def __len__(self) -> int:
        return 0


def _leave_producer(client: Producer) -> None:
    keep_for_ever(client)
    client.__class__ = _ParentsProducer  # type: ignore[assignment]


def _leave_consumer(client: Consumer) -> None:
    keep_for_ever(client)
    client.__class__ = _ParentsConsumer  # type: ignore[assignment]


def _leave_admin(client: AdminClient) -> None:
    keep_for_ever(client)
    client.__class__ = _ParentsAdminClient  # type: ignore[assignment]
