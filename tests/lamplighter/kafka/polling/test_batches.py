"""Batches of messages, cut into records and what stands between them."""

from confluent_kafka import KafkaError, Message

from lamplighter.kafka.polling.batches import runs_and_errors
from tests.lamplighter.kafka.records import record


def end(offset: int) -> Message:
    """What tells that a partition was read to its end."""
    return Message(topic="t", partition=0, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def parts(*batch: Message) -> list[list[int | None] | int | None]:
    """The offsets of the parts: a list for a run of records, one alone for an end."""
    return [
        part.offset() if isinstance(part, Message) else [message.offset() for message in part]
        for part in runs_and_errors(list(batch))
    ]


def test_an_end_that_was_told_before_records_came_stands_before_them() -> None:
    assert parts(record(9), record(10), end(11), record(11), record(12), end(13)) == [[9, 10], 11, [11, 12], 13]


def test_a_batch_of_records_alone_is_one_run() -> None:
    assert parts(record(9), record(10)) == [[9, 10]]


def test_ends_alone_are_no_runs() -> None:
    assert parts(end(0), end(0)) == [0, 0]
    assert parts() == []
