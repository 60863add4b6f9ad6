"""What a reading makes of what the client gives: ends, other records where some were read, errors."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.reading import Reading
from lamplighter.kafka.reading.spans import Last, Position, Span
from tests.lamplighter.kafka.records import no_record, record

STORE = ("store", 0)


@dataclass
class Client:
    """Gives batches one after the other, and keeps what it is told."""

    batches: deque[list[Message]]
    sought: list[TopicPartition] = field(default_factory=list)
    left: list[PartitionId] = field(default_factory=list)

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = [(tp.topic, tp.partition, tp.offset) for tp in places]

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        self.left += [(tp.topic, tp.partition) for tp in places]

    def unassign(self) -> None:
        self.left.append(("", -1))

    def seek(self, place: TopicPartition) -> None:
        self.sought.append(place)

    def poll(self, wait: float) -> Message | None:
        return self.batches[0].pop(0) if self.batches and self.batches[0] else None

    def consume(self, most: int, wait: float) -> list[Message]:
        return self.batches.popleft() if self.batches else []


class Bench:
    """A reading of store[0], or of what is said, on such a client."""

    def __init__(self, *batches: Sequence[Message], keeps: bool = True, silence: float = 9, **spans: Any) -> None:
        self.client = Client(deque(map(list, batches)))
        self.forgotten: list[PartitionId] = []
        self.given: list[int] = []
        client: Any = self.client
        self.reading = Reading(
            client,
            spans.get("spans") or {STORE: Span(**{"start": 0, "end": 5, **spans})},
            brokers="127.0.0.1:1",
            silence=silence,
            forget=self._forget if keeps else None,
        )

    def run(self) -> list[int]:
        """Read all of it; the offsets that were given, without those that were forgotten."""
        for batch in self.reading.batches():
            self.given += [message.offset() or 0 for message in batch]
        return self.given

    def _forget(self, place: PartitionId) -> None:
        self.forgotten.append(place)
        self.given.clear()


def records(*offsets: int, epoch: int = 0, number: int = 0) -> list[Message]:
    return [record(offset, epoch=epoch, number=number) for offset in offsets]


def ended(offset: int) -> Message:
    """There is nothing from here on."""
    return no_record(KafkaError._PARTITION_EOF, offset=offset)


def test_a_span_ends_with_its_last_record_and_takes_nothing_that_came_since() -> None:
    bench = Bench(records(0, 1, 2, 3, 4, 5, 6))

    assert bench.run() == [0, 1, 2, 3, 4]
    assert bench.client.left == [STORE]
    assert bench.reading.positions() == {STORE: Position(5, Last(4, 0, 4))}


def test_a_span_ends_where_only_markers_are_left_or_the_next_record_came_since() -> None:
    with_eof = Bench(records(0, 1), [ended(5)])
    with_more = Bench(records(0, 1, 7))

    assert (with_eof.run(), with_more.run()) == ([0, 1], [0, 1])
    assert with_eof.reading.positions() == {STORE: Position(5, Last(1, 0, 1))}
    assert with_more.reading.positions() == {STORE: Position(5, Last(1, 0, 1))}


def test_a_reading_ends_at_the_last_stable_offset_and_goes_on_from_there() -> None:
    bench = Bench(records(0, 1), [ended(2)])

    assert bench.run() == [0, 1]
    assert bench.reading.positions()[STORE].offset == 2


def test_partitions_come_to_their_ends_each_for_itself() -> None:
    other = ("store", 1)
    bench = Bench([*records(0), *records(0, 1, number=1)], records(1), spans={STORE: Span(0, 2), other: Span(0, 2)})

    assert bench.run() == [0, 0, 1, 1]
    assert bench.client.left == [other, STORE]


def test_the_record_that_was_read_last_is_not_given_again() -> None:
    bench = Bench(records(2, 3, 4), start=2, last=Last(2, 0, 2))

    assert bench.run() == [3, 4]
    assert bench.forgotten == []


@pytest.mark.parametrize(
    "first",
    [record(2, epoch=1), record(3, epoch=0), ended(4)],
    ids=["another epoch", "it is gone", "nothing is there"],
)
def test_another_record_in_its_place_makes_all_of_the_partition_read_again(
    first: Message, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench([first, *records(4)], records(0, 1, 2, 3, 4), start=2, last=Last(2, 0, 2))

    assert bench.run() == [0, 1, 2, 3, 4]
    assert bench.forgotten == [STORE]
    assert [(tp.partition, tp.offset) for tp in bench.client.sought] == [(0, OFFSET_BEGINNING)]
    [warning] = caplog.records
    assert (warning.levelno, vars(warning)["read_to"], vars(warning)["cut_off_at"]) == (
        logging.WARNING,
        3,
        first.offset(),
    )


def test_another_timestamp_is_another_record_too() -> None:
    bench = Bench(records(2), records(0, 1, 2, 3, 4), start=2, last=Last(2, 0, 1))

    assert bench.run() == [0, 1, 2, 3, 4]
    assert bench.forgotten == [STORE]


@pytest.mark.parametrize("later", [record(1, epoch=1), ended(1)], ids=["rewritten", "shorter"])
def test_a_log_that_is_cut_off_while_it_is_read_is_read_again_by_who_keeps_what_he_read(
    later: Message, caplog: pytest.LogCaptureFixture
) -> None:
    # What stands in the batch beside it is of the old log, or is fetched once more.
    bench = Bench(records(0, 1, 2), [*records(3), later, *records(2, epoch=1)], records(0, 1, 2, 3, 4, epoch=1))

    assert bench.run() == [0, 1, 2, 3, 4]
    assert bench.forgotten == [STORE]
    assert bench.reading.positions() == {STORE: Position(5, Last(4, 1, 4))}
    [warning] = caplog.records
    assert (vars(warning)["read_to"], vars(warning)["cut_off_at"]) == (4, 1)


def test_who_keeps_nothing_reads_on_where_the_log_was_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    rewritten = Bench(records(0, 1, 2), records(1, 2, 3, 4, epoch=1), keeps=False)
    shorter = Bench(records(0, 1, 2), [ended(1)], keeps=False)

    assert rewritten.run() == [0, 1, 2, 1, 2, 3, 4]
    assert shorter.run() == [0, 1, 2]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_refusal_and_a_topic_that_is_gone_end_a_reading_and_brokers_that_are_away_do_not() -> None:
    away = Bench([no_record(KafkaError._TRANSPORT)], records(0, 1, 2, 3, 4))

    assert away.run() == [0, 1, 2, 3, 4]
    for code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART):
        with pytest.raises(QueueError, match=r"topic store of the brokers 127.0.0.1:1 can't be read") as told:
            Bench([no_record(code)]).run()
        assert not isinstance(told.value, BrokerUnavailable)


def test_errors_of_brokers_that_are_away_are_no_word_from_them() -> None:
    silent = Bench(*([no_record(KafkaError._TRANSPORT)] for _ in range(1_000)), silence=0)

    with pytest.raises(BrokerUnavailable, match="nothing came"):
        silent.run()

    assert silent.client.batches
