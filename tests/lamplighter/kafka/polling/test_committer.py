"""What a commit tells of partitions that are worked beside each other."""

from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import TopicPartition

from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.polling.committer import Committer
from tests.lamplighter.kafka.records import log


@dataclass
class Consumer:
    """The client: it sends each commit, and never has an answer."""

    sent: list[TopicPartition] = field(default_factory=list)

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """Send a commit."""
        self.sent = offsets


def partition(number: int, *, arrived: int) -> Partition:
    """A partition with some records, from the first one on."""
    made = Partition("kafka", "t", number, offset=0, metadata="")
    made.receive(log(0, arrived - 1))
    return made


def test_a_partition_whose_turn_comes_next_is_announced_at_the_pace_of_the_others() -> None:
    worked, next_, quiet = partition(0, arrived=1_000), partition(1, arrived=700), partition(2, arrived=1)
    every = {("t", one.number): one for one in (worked, next_, quiet)}
    consumer: Any = Consumer()
    committer = Committer(every, acknowledged=lambda partition: None, changed=lambda: None, refused=lambda error: None)

    worked.reach.begin(500)
    committer.commit(consumer)

    assert [one.reach.margin for one in every.values()] == [1_000, 1_000, 32]

    next_.reach.begin(10)
    committer.commit(consumer)

    assert next_.reach.margin == 500  # nothing was begun but that; the pace is half of what it was
