"""The dead-letter topic of one connection."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge
from lamplighter.kafka.deadletters.letter import fields_of, mark, mark_in, read, size, write
from lamplighter.kafka.deadletters.letter_index import LetterIndex
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.producing.partitioner import Partitioner
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.reading.reader import Reader
from lamplighter.kafka.reading.spans import Position
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.queue.failed import EVERY, FailedJob, FailedJobs, FailedRecord, Failure, Wanted
from lamplighter.queue.failed.naming import chosen_id
from lamplighter.support.forking import watch

FRESH = 1.0  # seconds for which records that were listed are read without another look at the topic
# The topic's own limit decides, not the client's: what came from a topic may be larger than what we push.
CLIENT_LIMIT = 256 * 1024 * 1024


class DeadLetters(FailedJobs):
    """Writes letters, each acknowledged before anything else goes on, and reads them back.

    A letter is dealt with when a mark that names its identity, and its offset or a later one, stands behind it in its
    own partition: there retention can't take the mark before the letter, and a message that fails anew is offered anew.
    """

    def __init__(
        self,
        connection: str,
        settings: KafkaSettings,
        *,
        address: Callable[[], str | None],
        partitioner: Partitioner,
        where: Callable[[], str] | None = None,
    ) -> None:
        self.topic = settings.dead_letter_topic
        self._connection = connection
        self._settings = settings
        self._address = address
        self._partitioner = partitioner
        self._where = where
        self._producer: KafkaProducer | None = None
        self._positions: dict[PartitionId, Position] = {}
        self._index = LetterIndex(connection)
        self._read_at = float("-inf")
        self._read_from = ""  # the brokers
        self._making = threading.Lock()
        watch(self, in_child=DeadLetters._begin_as_child, locks=lambda letters: (letters._making,))

    def _begin_as_child(self) -> None:
        """Read the topic anew: the file of the index is the parent's, and so is the place in it."""
        self._making = threading.Lock()
        self._read_anew()

    def _read_anew(self) -> None:
        self._positions = {}
        self._index = LetterIndex(self._connection)
        self._read_at = float("-inf")

    def record(self, failure: Failure, *, id: str | None = None) -> str:
        """Write a letter; its id, when the brokers have it: the one that is given, unless another letter claims it.

        Raises:
            QueueError: they don't take it; the message says why.
        """
        id = id or chosen_id(failure.uuid, failure.identity)
        try:
            self._send(write(failure, id, limit=self._settings.max_message_bytes))
        except MessageTooLarge:
            # The bytes of the job matter more than the trace.
            self._send_bare(failure, id)
        return id

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """Every message whose letter is not dealt with, the newest first, or those with these ids, in this order."""
        return self._fresh(0).records(wanted, ids=ids)

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, but for those that were dealt with meanwhile, or have failed once more."""
        return self._fresh(FRESH).read(records) if records else iter(())

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Mark these as dealt with, up to the letters that were read; how many there were."""
        index = self._fresh(float("inf"))  # as it was read, by this process
        found = [
            (record.version.identity, number, until)
            for record in records
            for number, until in record.version.offsets
            if index.has(record.version.identity, number, until=until)
        ]
        if found:
            marks = [(mark(one, connection=self._connection, until=until), number) for one, number, until in found]
            self._get_producer().send(self.topic, marks, bulk=len(marks) > 1)
        for one, number, until in found:
            index.settle(one, number, until=until)
        return len({one for one, _, _ in found})

    # writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, message: Message) -> None:
        self._get_producer().send(self.topic, [(message, self._partitioner(self.topic, message))], bulk=False)

    def _send_bare(self, failure: Failure, id: str) -> None:
        letter = write(failure, id, limit=0)
        try:
            self._send(letter)
        except MessageTooLarge as error:
            raise MessageTooLarge(
                f"The dead-letter topic {self.topic} does not take the {size(letter):,} bytes of {failure.origin}. "
                f"Raise its max.message.bytes to {size(letter) + 65_536:,} at least; the job waits until then."
            ) from error

    def _get_producer(self) -> KafkaProducer:
        with self._making:
            if self._producer is None:
                config = self._settings.producer_config(self._address())
                own = {"message.max.bytes": CLIENT_LIMIT, "compression.type": "lz4"}
                timeout = self._settings.dispatch_timeout
                self._producer = KafkaProducer({**config, **own}, timeout=timeout, where=self._where)
            return self._producer

    # reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fresh(self, age: float) -> LetterIndex:
        """What the topic had at most `age` seconds ago."""
        began = time.monotonic()
        if began - self._read_at < age:
            return self._index
        config = self._settings.client_config(self._address())
        if config["bootstrap.servers"] != self._read_from:
            self._read_anew()  # what was on an embedded broker is gone with it
            self._read_from = config["bootstrap.servers"]
        # On the embedded broker topics come by themselves, also for who looks before the first letter.
        own = {"allow.auto.create.topics": self._settings.is_embedded}
        with Reader({**config, **own}, name="letters") as reader:
            spans = reader.spans(self.topic, self._positions, forget=self._forget)
            reading = reader.open(spans, forget=self._forget)
            for batch in reading.batches():
                for message in batch:
                    self._sort(message)
            # Not before all is read: what failed in between is read once more.
            self._positions.update(reading.positions())
        self._read_at = began
        return self._index

    def _forget(self, place: PartitionId) -> None:
        """The log of a partition is another one: neither its letters nor its marks are there any more."""
        self._positions.pop(place, None)
        self._index.forget(place[1])

    def _sort(self, message: Any) -> None:
        told = fields_of(message)
        if told is None:
            return
        original, fields = told
        partition, offset = message.partition(), message.offset()
        # Another connection may write to the same topic.
        ended = mark_in(fields)
        if ended is not None:
            if ended.connection in (None, self._connection):
                until = offset if ended.until is None else ended.until
                self._index.settle(ended.identity, partition, until=until)
            return
        letter = read(message, original, fields)
        if letter is not None and letter.job.connection == self._connection:
            self._index.put(letter, partition, offset)
