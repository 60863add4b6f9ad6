"""The dead-letter topic of one connection."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge
from lamplighter.kafka.deadletters.letter import fields_of, mark, read, settled_by, size, write
from lamplighter.kafka.deadletters.log import TopicLog
from lamplighter.kafka.deadletters.shelf import Shelf
from lamplighter.kafka.producer import KafkaProducer
from lamplighter.kafka.settings import KafkaSettings
from lamplighter.queue.failed import FailedJob, Failure
from lamplighter.queue.failed.naming import chosen_id

FRESH = 5.0  # seconds for which what was read is not read again, unless a list is asked for
# The topic's own limit decides, not the client's: what came from a topic may be larger than what we push.
CLIENT_LIMIT = 256 * 1024 * 1024

Place = Callable[[str, Message], int]


class DeadLetters:
    """Writes letters, each acknowledged before anything else goes on, and reads them back.

    A letter is dealt with when a mark of its identity stands behind it in its own partition: there retention can't
    take the mark before the letter, and a message that fails anew is offered anew.
    """

    def __init__(
        self, connection: str, settings: KafkaSettings, *, address: Callable[[], str | None], place: Place
    ) -> None:
        self.topic = settings.dead_letter_topic
        self._connection = connection
        self._settings = settings
        self._address = address
        self._place = place
        self._producer: KafkaProducer | None = None
        self._log: TopicLog | None = None
        self._shelf = Shelf()
        self._read_at = 0.0

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

    def all(self) -> Iterator[FailedJob]:
        """Every letter that is not dealt with, the newest first."""
        return self._fresh(0).all()

    def ids(self) -> list[str]:
        """The ids of these letters."""
        return self._fresh(0).ids()

    def find(self, id: str) -> FailedJob | None:
        """One of them."""
        shelf = self._fresh(FRESH)
        identity = shelf.identity(id)
        return None if identity is None else shelf.job(identity)

    def forget(self, id: str) -> bool:
        """Mark one as dealt with; whether there was one."""
        identity = self._fresh(FRESH).identity(id)
        if identity is None:
            return False
        self._settle([identity])
        return True

    def flush(self, *, hours: float | None = None) -> int:
        """Mark all, or those that failed at least so many hours ago; how many."""
        until = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
        found = self._fresh(0).identities(until=until)
        self._settle(found)
        return len(found)

    # writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, message: Message) -> None:
        self._get_producer().send(self.topic, [(message, self._place(self.topic, message))], bulk=False)

    def _send_bare(self, failure: Failure, id: str) -> None:
        letter = write(failure, id, limit=0)
        try:
            self._send(letter)
        except MessageTooLarge as error:
            raise MessageTooLarge(
                f"The dead-letter topic {self.topic} does not take the {size(letter):,} bytes of {failure.origin}. "
                f"Raise its max.message.bytes to {size(letter) + 65_536:,} at least; the job waits until then."
            ) from error

    def _settle(self, identities: list[str]) -> None:
        shelf = self._shelf
        places = [(identity, number) for identity in identities for number in shelf.partitions(identity)]
        if not places:
            return
        marks = [(mark(identity), number) for identity, number in places]
        self._get_producer().send(self.topic, marks, bulk=len(marks) > 1)
        for identity, number in places:
            shelf.settle(identity, number)

    def _get_producer(self) -> KafkaProducer:
        if self._producer is None:
            config = self._settings.producer_config(self._address())
            own = {"message.max.bytes": CLIENT_LIMIT, "compression.type": "lz4"}
            self._producer = KafkaProducer({**config, **own}, timeout=self._settings.dispatch_timeout)
        return self._producer

    # reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fresh(self, age: float) -> Shelf:
        """What the topic had at most `age` seconds ago."""
        if self._log is not None and time.monotonic() - self._read_at < age:
            return self._shelf
        began = time.monotonic()
        if self._log is None:
            config = self._settings.client_config(self._address())
            # On the embedded broker topics come by themselves, also for who looks before the first letter.
            own = {"allow.auto.create.topics": self._settings.is_embedded}
            self._log = TopicLog({**config, **own}, self.topic)
        for message in self._log.read_on():
            self._sort(message)
        self._read_at = began
        return self._shelf

    def _sort(self, message: Any) -> None:
        told = fields_of(message)
        if told is None:
            return
        original, fields = told
        settled = settled_by(fields)
        if settled is not None:
            self._shelf.settle(settled, message.partition())
            return
        letter = read(message, original, fields)
        # Another connection may write to the same topic.
        if letter is not None and letter.job.connection == self._connection:
            self._shelf.put(letter, message.partition())
