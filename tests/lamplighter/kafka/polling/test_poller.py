"""What the polling thread takes over from the last owners of its partitions."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from lamplighter.kafka.partitions.partition import Chunk, Partition
from lamplighter.kafka.polling.poller import PollingThread
from lamplighter.kafka.settings.native import KafkaError, KafkaException, TopicPartition

PLACE = ("t", 0)


@dataclass(frozen=True)
class Record:
    """A record of the partition."""

    at: int

    def error(self) -> None:
        """It is a record."""

    def topic(self) -> str:
        """Its topic."""
        return PLACE[0]

    def partition(self) -> int:
        """Its partition."""
        return PLACE[1]

    def offset(self) -> int:
        """Where it stands."""
        return self.at

    def leader_epoch(self) -> int:
        """Who led the partition."""
        return 0

    def timestamp(self) -> tuple[int, int]:
        """When it was written."""
        return 1, self.at

    def __len__(self) -> int:
        return 10


@dataclass
class Consumer:
    """The client, as far as the polling thread needs it here; the last owner has left the offset 15."""

    assigned: list[tuple[str, int]] = field(default_factory=list)
    committed_: list[int] = field(default_factory=list)

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """What the last owners have left."""
        return [TopicPartition(place.topic, place.partition, 15) for place in places]

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        """These are to be fetched."""
        self.assigned += [(place.topic, place.partition) for place in places]

    def resume(self, places: list[TopicPartition]) -> None:
        """They are not paused."""

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        """Nothing is known of the log's end."""
        return 0, -1

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """These offsets are committed."""
        self.committed_ += [place.offset for place in offsets]


@dataclass
class Scheduler:
    """Takes what is handed over."""

    offsets: list[int] = field(default_factory=list)

    def arrived(self, partition: Partition, chunk: Chunk) -> None:
        """Records are handed over."""
        self.offsets += [record.offset() for record in reversed(chunk)]

    def look_at(self, partition: Partition) -> None:
        """Something has become of a partition."""


def polling(scheduler: Scheduler) -> PollingThread:
    """A polling thread, not started."""
    return PollingThread(
        "kafka",
        {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "group.instance.id": "one"},
        [PLACE[0], "u"],
        needed=(),
        prefetch=100,
        prefetch_bytes=10_000,
        revoke_wait=0,
        identity=None,
        sleep_on_error=None,
        scheduling=scheduler,
        changed=lambda: None,
        is_gone=lambda brokers: False,
    )


@pytest.mark.parametrize("is_stopping", [False, True])
def test_one_that_stops_before_it_is_told_what_was_left_commits_nothing_in_its_place(is_stopping: bool) -> None:
    scheduler, consumer = Scheduler(), Consumer()
    client: Any = consumer
    batch: list[Any] = [Record(15), Record(16)]
    thread = polling(scheduler)
    if is_stopping:
        thread._stopping.set()

    thread._on_assign(client, [TopicPartition(*PLACE)])
    thread._hand_over(client, batch)
    thread._committer.commit(client, is_last=is_stopping)

    assert consumer.assigned == [PLACE]
    assert scheduler.offsets == ([] if is_stopping else [15, 16])
    assert consumer.committed_ == ([] if is_stopping else [15])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KafkaError(KafkaError._FATAL, "Fatal error: fenced by another instance"), "group_instance_id 'one'"),
        (
            KafkaError(KafkaError._STATE, "Local: Erroneous state"),
            "Polling 127.0.0.1:1 has ended: Local: Erroneous state",
        ),
    ],
    ids=["fenced", "another error"],
)
def test_an_error_of_the_client_ends_polling_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: KafkaError, told: str
) -> None:
    def refuse(thread: PollingThread, consumer: object) -> None:
        raise KafkaException(error)

    monkeypatch.setattr(PollingThread, "_subscribe", refuse)
    thread = polling(Scheduler())

    thread.run()

    assert told in str(thread.failure)
    assert not [record for record in caplog.records if record.exc_info]
