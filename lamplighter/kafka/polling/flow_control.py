"""How much waits in memory: bounded, by not polling for a moment, and by pausing when the moment gets long."""

from collections.abc import Collection, Iterable, Sequence

from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.settings.native import Consumer, TopicPartition

PATIENCE = 0.25  # seconds with a full buffer until partitions are paused, so that polling can go on


class Flow:
    """Back-pressure for the topics of one consumer; used by the polling thread alone.

    A topic is full when `prefetch` messages of it wait, or messages of `prefetch_bytes` altogether.
    """

    def __init__(self, topics: Sequence[str], *, prefetch: int, prefetch_bytes: int) -> None:
        self._topics = topics
        self._prefetch = prefetch
        self._prefetch_bytes = prefetch_bytes
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

    def regulate(
        self, consumer: Consumer, partitions: Iterable[Partition], now: float, *, paused: Collection[str] = ()
    ) -> None:
        """Pause what is full, what may begin nothing new, and the topics that are paused; resume the rest."""
        known = list(partitions)
        loads = self._loads(known)
        full = {topic for topic, load in loads.items() if load >= 1}
        half = {topic for topic, load in loads.items() if load >= 0.5}
        going = self._topics if not paused else [topic for topic in self._topics if topic not in paused]
        if going and (half if self.is_full else full).issuperset(going):
            self._full_since = self._full_since or now
        else:
            self._full_since = 0.0
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for partition in known:
            crowded = half if partition.is_paused else full
            is_closed = partition.backlog is not None and partition.backlog.is_closed
            wanted = is_closed or partition.topic in paused or (partition.topic in crowded and not self.may_wait(now))
            if wanted != partition.is_paused:
                partition.is_paused = wanted
                (pause if wanted else resume).append(TopicPartition(partition.topic, partition.number))
        if pause:
            consumer.pause(pause)
        if resume:
            consumer.resume(resume)

    def _loads(self, partitions: Iterable[Partition]) -> dict[str, float]:
        """How full each topic is, 1 being all that it may have."""
        counts, sizes = dict.fromkeys(self._topics, 0), dict.fromkeys(self._topics, 0)
        for partition in partitions:
            backlog = partition.backlog
            if backlog is not None and not backlog.is_closed:
                counts[partition.topic] += backlog.unbegun
                sizes[partition.topic] += backlog.unbegun_bytes
        return {
            topic: max(counts[topic] / self._prefetch, sizes[topic] / self._prefetch_bytes) for topic in self._topics
        }
