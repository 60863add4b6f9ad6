"""How far partitions go, where their ends can't be looked at."""

from typing import Any

import pytest

from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.polling.end_offsets import EVERY, Ends
from lamplighter.kafka.settings.native import KafkaError, KafkaException, TopicPartition


class Client:
    """Tells an end, or fails."""

    error: Exception | None = None

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        """The beginning and the end that the last fetch has told."""
        if self.error is not None:
            raise self.error
        return 0, 9


def test_a_look_that_fails_is_told_once_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ends, client = Ends(), Client()
    consumer: Any = client
    partition = Partition("kafka", "t", 0, offset=0, metadata="", epoch=-1)
    ends.look(consumer, [partition], EVERY)
    client.error = KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))

    for look in (2, 3):
        ends.look(consumer, [partition], look * EVERY)

    assert ends.end(partition) == 9
    assert len(caplog.records) == 1
