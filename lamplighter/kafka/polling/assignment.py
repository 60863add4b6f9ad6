"""The partitions that this member of the group has been given, from their assignment until they are given away."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from lamplighter.kafka.partitions.partition import Chunk, Partition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.polling.committer import Committer
from lamplighter.kafka.polling.end_offsets import Ends
from lamplighter.kafka.polling.validation import Validation
from lamplighter.kafka.settings.native import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, TopicPartition
from lamplighter.kafka.topics.metadata import metadata_of

log = logging.getLogger(__name__)

LOOK = 0.01  # seconds between two looks whether the jobs in hand have ended


class Scheduling(Protocol):
    """Where records go, and who is told of a partition that something has become of it."""

    def arrived(self, partition: Partition, chunk: Chunk) -> None: ...
    def look_at(self, partition: Partition) -> None: ...


class Assignment:
    """Used by the polling thread alone, but for what others read.

    Args:
        wait: seconds for jobs in hand to come to their end before their partition is given to another member.
        changed: called when the thread that pops should look.
        alive: called while something is waited for, as polling stands still meanwhile.
        is_over: whether nothing is to be waited for any more.

    Attributes:
        partitions: what is ours now.
        ends: how far these go.
        has_begun: the group has given this member its partitions, be they none.
        lost: what was taken away without a word, until the group gives something again.
    """

    def __init__(
        self,
        connection: str,
        *,
        scheduling: Scheduling,
        wait: float,
        changed: Callable[[], object],
        alive: Callable[[], object],
        is_over: Callable[[], bool],
    ) -> None:
        self.partitions: dict[PartitionId, Partition] = {}
        self.ends = Ends()
        self.has_begun = False
        self.lost: list[Partition] = []
        self._connection = connection
        self._scheduling = scheduling
        self._wait = wait
        self._changed = changed
        self._alive = alive
        self._is_over = is_over
        self._validation = Validation()
        self._sought: set[PartitionId] = set()  # in this batch: what else is in it of them will be fetched once more

    # given and taken ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, consumer: Consumer, left: Sequence[TopicPartition], starts: Sequence[TopicPartition]) -> None:
        """These are ours from now on: with what their last owners have left, and where they begin.

        Of a partition that only begins, nothing is known, and what comes of it is dropped.
        """
        for found in left:
            self.partitions[found.topic, found.partition] = self._partition(found)
        self._validation.expect(left)
        consumer.incremental_assign(list(starts))
        # A pause outlives revocation and assignment; without this a partition would stand still for ever.
        if left:
            consumer.resume(list(left))
        log.info("partitions assigned", extra={"partitions": names(left)})
        self.has_begun = True
        self.lost = []
        self._changed()

    def take_none(self) -> None:
        """The group has nothing for this member."""
        if not self.has_begun:
            log.info("partitions assigned", extra={"partitions": names([])})
            self.has_begun = True
            self._changed()

    def give_away(self, consumer: Consumer, revoked: Iterable[TopicPartition], committer: Committer) -> None:
        """Finish what is in hand of these partitions, commit, and let go.

        Their next owner begins when this returns. So jobs of one order key keep their order, and none runs twice at the
        same time, unless one of them takes longer than the wait.
        """
        leaving = [found for tp in revoked if (found := self.partitions.get((tp.topic, tp.partition))) is not None]
        for partition in leaving:
            partition.is_open = False
            self._scheduling.look_at(partition)
        self._changed()
        staying = [partition for partition in self.partitions.values() if partition.is_open]
        until = time.monotonic() + self._wait
        while not all(partition.has_left for partition in leaving) and time.monotonic() < until:
            if self._is_over():
                break
            # Jobs of other partitions may wait for a commit before they begin.
            committer.commit_beside(consumer, staying)
            self._alive()
            time.sleep(LOOK)
        in_hand = [str(partition) for partition in leaving if not partition.has_left and not self._is_over()]
        if in_hand:
            log.warning(
                "partitions are given away with jobs in hand, which will run again",
                extra={"partitions": ", ".join(in_hand), "waited": self._wait},
            )
        committer.commit_last(consumer, leaving)
        self._forget(revoked)
        log.info("partitions revoked", extra={"partitions": names(revoked)})

    def lose(self, lost: Sequence[TopicPartition]) -> None:
        """These may be another member's already: whatever we know of them is void."""
        self.lost = self._forget(lost)
        log.warning("partitions lost; jobs in hand of them will run again", extra={"partitions": names(lost)})

    def _forget(self, gone: Iterable[TopicPartition]) -> list[Partition]:
        found = [self.partitions.pop((tp.topic, tp.partition), None) for tp in gone]
        partitions = [partition for partition in found if partition is not None]
        for partition in partitions:
            self._let_go(partition)
        self._changed()
        return partitions

    def _let_go(self, partition: Partition) -> None:
        partition.is_open = False
        partition.lost = True
        self._scheduling.look_at(partition)

    def _partition(self, found: TopicPartition) -> Partition:
        epoch = found.leader_epoch
        return Partition(
            self._connection,
            found.topic,
            found.partition,
            offset=found.offset,
            metadata=metadata_of(found),
            epoch=-1 if epoch is None else epoch,
        )

    # records ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_batch(self) -> None:
        """What comes from here on was fetched after the last seek."""
        self._sought.clear()

    def receive(self, consumer: Consumer, place: PartitionId, records: list[Any]) -> None:
        """Records of one partition, in their order."""
        partition = self.partitions.get(place)
        if partition is None or place in self._sought:
            return  # taken away while they were on their way
        intake = partition.intake
        if not intake.has_begun:
            if self._validation.begin(consumer, place, records[0].leader_epoch()):
                self._sought.add(place)
                return
            self._begin_first(consumer, partition, records[0])
        if records[0].offset() < intake.expected:
            partition.go_on_where_cut(records[0])
            rewritten = intake.rewritten_from(records, end=_end_of(consumer, partition))
            if rewritten >= 0:
                self._begin_from(consumer, partition, rewritten)
                return
        chunk = partition.receive(records)
        if partition.reach.is_short:
            partition.wants_commit = True  # while others are worked, before a job has to wait for it
        if chunk or partition.marks:
            self._scheduling.arrived(partition, chunk)
            self._changed()

    def read_to(self, consumer: Consumer, place: PartitionId, end: int, *, from_end: bool) -> None:
        """A partition was read to its end; a group that has committed nothing of it may have to begin there."""
        partition = self.partitions.get(place)
        if partition is None or place in self._sought:
            return
        self.ends.reached(place, end)
        if end < partition.intake.expected:
            # Nothing was written to the shorter log so far, or what was is known to be old.
            self._begin_from(consumer, partition, end)
            return
        if not partition.intake.has_begun:
            self._validation.begin(consumer, place, None)
            if partition.position < 0 and from_end:
                partition.begin_at(end)
        partition.read_to(end)
        if partition.marks:
            self._scheduling.look_at(partition)
        if not partition.intake.at_end:
            partition.intake.at_end = True
            self._changed()

    def _begin_first(self, consumer: Consumer, partition: Partition, record: Any) -> None:
        end = _end_of(consumer, partition)
        if end >= 0:
            partition.bound(end)
        first = record.offset()
        if not partition.go_on_where_cut(record) and 0 <= first < partition.position:
            log.warning(
                "a log has become shorter than what the group has committed; it is worked from where it begins",
                extra={"partition": str(partition), "committed": partition.position, "begins_at": first, "end": end},
            )

    # logs that are others ──────────────────────────────────────────────────────────────────────────────────────────

    def begin_anew(self, consumer: Consumer, topic: str) -> None:
        """A topic was deleted and made again."""
        log.warning("a topic was made anew; it is worked from its beginning", extra={"topic": topic})
        for place in [place for place in self.partitions if place[0] == topic]:
            self._let_go(self.partitions[place])
            self.partitions[place] = self._partition(TopicPartition(*place, OFFSET_INVALID))
            self.ends.forget(place)
            self._validation.forget(place)
            consumer.seek(TopicPartition(*place, OFFSET_BEGINNING))
        self._changed()

    def _begin_from(self, consumer: Consumer, partition: Partition, offset: int) -> None:
        """The log was cut off and written anew from here on; what is finished before that stays finished."""
        log.warning(
            "a log has become shorter; it is worked from where it was cut off",
            extra={"partition": str(partition), "read_to": partition.intake.expected, "cut_off_at": offset},
        )
        self._let_go(partition)
        position, left, epoch = partition.left_before(offset)
        place = partition.topic, partition.number
        self.partitions[place] = self._partition(TopicPartition(*place, position, left, epoch))
        self.partitions[place].begin_at(position)
        self.ends.forget(place)
        self._sought.add(place)
        consumer.seek(TopicPartition(*place, position))
        self._changed()


def _end_of(consumer: Consumer, partition: Partition) -> int:
    """The end of a log as the last fetch has told it; negative where none has."""
    high: int = consumer.get_watermark_offsets(TopicPartition(partition.topic, partition.number), cached=True)[1]
    return high


def names(partitions: Iterable[TopicPartition]) -> str:
    """Partitions as log lines name them."""
    return ", ".join(sorted(f"{tp.topic}[{tp.partition}]" for tp in partitions)) or "none"
