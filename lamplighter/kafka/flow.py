"""How much waits in memory: bounded, by not polling for a moment, and by pausing when the moment gets long."""

from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, TopicPartition

from lamplighter.kafka.partition import Partition

PATIENCE = 0.25  # seconds with a full buffer until partitions are paused, so that polling can go on


class Flow:
    """Back-pressure for the topics of one consumer; used by the polling thread alone."""

    def __init__(self, topics: Sequence[str], *, prefetch: int) -> None:
        self._topics = topics
        self._prefetch = prefetch
        self._full_since = 0.0

    @property
    def is_full(self) -> bool:
        """Whether every topic has as much waiting as it may have."""
        return self._full_since > 0

    def may_wait(self, now: float) -> bool:
        """Whether the buffer is full, and polling may stop for a moment until the jobs have made room.

        Pausing throws away what librdkafka has fetched; a short wait costs nothing.
        """
        return self.is_full and now - self._full_since < PATIENCE

    def regulate(self, consumer: Consumer, partitions: Iterable[Partition], now: float) -> None:
        """Pause what is full and what waits for its head to be run again; resume the rest."""
        known = list(partitions)
        waiting = self._waiting(known)
        full = {topic for topic, count in waiting.items() if count >= self._prefetch}
        half = {topic for topic, count in waiting.items() if count >= self._prefetch // 2}
        enough = half if self.is_full else full
        if len(enough) == len(self._topics):
            self._full_since = self._full_since or now
        else:
            self._full_since = 0.0
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for partition in known:
            crowded = half if partition.is_paused else full
            wanted = partition.held is not None or (partition.topic in crowded and not self.may_wait(now))
            if wanted != partition.is_paused:
                partition.is_paused = wanted
                (pause if wanted else resume).append(TopicPartition(partition.topic, partition.number))
        if pause:
            consumer.pause(pause)
        if resume:
            consumer.resume(resume)

    def _waiting(self, partitions: Iterable[Partition]) -> dict[str, int]:
        counts = dict.fromkeys(self._topics, 0)
        for partition in partitions:
            if partition.held is None:
                counts[partition.topic] += partition.unfinished()
        return counts
