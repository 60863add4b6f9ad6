"""Sets a group's offsets as its only member: the embedded broker takes commits from nobody else."""

import time
from collections.abc import Mapping
from typing import Any

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.native import Consumer, KafkaException, TopicPartition

TIMEOUT = 20.0  # seconds for joining; the embedded broker lets members wait for each other


def commit_as_member(config: Mapping[str, Any], offsets: Mapping[PartitionId, int]) -> bool:
    """Join the group, commit, leave; False where another member has some of the partitions.

    Raises:
        BrokerUnavailable: the broker has given this member nothing in time.
        QueueError: it refuses the commit.
    """
    assigned: list[TopicPartition] | None = None

    def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        nonlocal assigned
        assigned = partitions
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # nothing is read

    consumer = Consumer(dict(config))
    try:
        consumer.subscribe(sorted({topic for topic, _ in offsets}), on_assign=on_assign)  # type: ignore[arg-type]
        until = time.monotonic() + TIMEOUT
        while assigned is None:
            if time.monotonic() > until:
                raise BrokerUnavailable(f"The group has given no partition within {TIMEOUT:g} s.")
            consumer.poll(0.1)
        if not set(offsets) <= {(tp.topic, tp.partition) for tp in assigned}:
            return False
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        consumer.commit(offsets=places, asynchronous=False)
    except KafkaException as error:
        raise QueueError(f"The broker does not let the group go on elsewhere: {error.args[0].str()}") from error
    finally:
        consumer.unsubscribe()
        consumer.close()
    return True
