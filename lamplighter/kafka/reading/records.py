"""Looks at the records that commits wait for: where they are, and when they were written."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import Message as KafkaMessage
from confluent_kafka import TopicPartition

from lamplighter.kafka.monitoring.lag import PartitionLag
from lamplighter.kafka.settings.native import Consumer
from lamplighter.support.forking import watch

PATIENCE = 3.0  # seconds for all of them; what does not come has no age

Place = tuple[str, int]
Seen = tuple[int, int]  # the record's offset and its time in milliseconds, -1 each where there is none


class Records:
    """Reads one record of each partition that lags, in no group; what it has read it does not read again."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._consumer: Consumer | None = None
        self._known: dict[tuple[str, int, int], Seen] = {}
        watch(self, in_child=Records._begin_as_child)

    def look(self, lags: Sequence[PartitionLag]) -> list[PartitionLag]:
        """The same, with `blocking` and `since`."""
        wanted = {(lag.topic, lag.number): _first(lag) for lag in lags if lag.lag > 0}
        known = {place: self._known[*place, first] for place, first in wanted.items() if (*place, first) in self._known}
        found = self._read({place: first for place, first in wanted.items() if place not in known})
        self._known = {(*place, wanted[place]): seen for place, seen in {**known, **found}.items()}
        return [self._told(lag, {**known, **found}.get((lag.topic, lag.number))) for lag in lags]

    def close(self) -> None:
        """Let go of the client."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _begin_as_child(self) -> None:
        self._consumer = None

    def _told(self, lag: PartitionLag, seen: Seen | None) -> PartitionLag:
        return replace(lag, blocking=seen[0], since=seen[1]) if seen is not None else lag

    def _read(self, starts: Mapping[Place, int]) -> dict[Place, Seen]:
        if not starts:
            return {}
        if self._consumer is None:
            self._consumer = Consumer(_quiet(self._config))
        consumer, found = self._consumer, dict[Place, Seen]()
        consumer.assign([TopicPartition(*place, first) for place, first in starts.items()])
        until = time.monotonic() + PATIENCE
        while len(found) < len(starts) and (left := until - time.monotonic()) > 0:
            message = consumer.poll(left)
            if message is None:
                break
            place = (message.topic() or "", message.partition() or 0)
            if place in starts and place not in found and (seen := _seen(message)) is not None:
                found[place] = seen
                # One is enough, and a fetch brings many.
                consumer.incremental_unassign([TopicPartition(*place)])
        consumer.unassign()
        return found


def _first(lag: PartitionLag) -> int:
    return lag.end - lag.lag


def _seen(message: KafkaMessage) -> Seen | None:
    """None for an error, but for the end: before it only the markers of transactions are left."""
    error = message.error()
    if error is not None:
        return (-1, -1) if error.name() == "_PARTITION_EOF" else None
    kind, timestamp = message.timestamp()
    return message.offset() or 0, timestamp if kind else -1


def _quiet(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **config,
        # A group is demanded by the client; nobody joins it.
        "group.id": f"lamplighter-lag-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        # One record of each partition is looked at.
        "fetch.message.max.bytes": 64 * 1024,
        "queued.min.messages": 1,
        "fetch.wait.max.ms": 100,
        "log_level": 0,
    }
