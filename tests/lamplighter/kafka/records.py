"""Records of Kafka as brokers hand them out."""

from collections.abc import Sequence
from typing import Any, cast

import confluent_kafka
from confluent_kafka import TIMESTAMP_CREATE_TIME

from lamplighter.contracts import Message


def record(
    offset: int,
    value: bytes = b"0123456789",
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes | None]] = (),
    *,
    at: float | None = None,
    kind: int = TIMESTAMP_CREATE_TIME,
    epoch: int | None = None,
    number: int = 0,
) -> confluent_kafka.Message:
    """A record of `store[0]`, or of another number, written `at` seconds; else its offset says when, in ms."""
    known: dict[str, Any] = {} if epoch is None else {"leader_epoch": epoch}
    return confluent_kafka.Message(
        topic="store",
        partition=number,
        offset=offset,
        key=key,
        value=value,
        headers=list(headers),
        timestamp=(kind, offset if at is None else round(at * 1000)),
        **known,
    )


def no_record(code: int, *, offset: int = 0) -> confluent_kafka.Message:
    """What the client tells of `store[0]` in place of a record."""
    return confluent_kafka.Message(topic="store", partition=0, offset=offset, error=confluent_kafka.KafkaError(code))


def record_of(
    message: Message, *, at: float, kind: int = TIMESTAMP_CREATE_TIME, offset: int = 0
) -> confluent_kafka.Message:
    """A message as it was appended to `store[0]`."""
    return record(offset, message.payload, message.key, message.headers, at=at, kind=kind)


def log(first: int, last: int, *, epoch: int | None = 0, at: float | None = None) -> list[confluent_kafka.Message]:
    """The records of a log without gaps, from one offset to another."""
    return [record(offset, at=at, epoch=epoch) for offset in range(first, last + 1)]


def headers_in(record: confluent_kafka.Message) -> list[tuple[str, bytes | None]]:
    """The headers of a record as the client gives them."""
    return cast(list[tuple[str, bytes | None]], record.headers() or [])
