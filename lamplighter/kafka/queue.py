"""The Kafka connection: what a worker pops from and everybody pushes to."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, UnsupportedDelay
from lamplighter.kafka.consumer import PollingThread
from lamplighter.kafka.partition import Chunk, KafkaDelivery, Partition
from lamplighter.kafka.producer import KafkaProducer
from lamplighter.kafka.settings import KafkaSettings

ARRIVED = object()  # the token of an arrival; any other token makes `pop` return
ANY_PARTITION = -1

Place = Callable[[str, Message], int]


def any_partition(topic: str, message: Message) -> int:
    """Leave the choice of the partition to librdkafka."""
    return ANY_PARTITION


class KafkaQueue:
    """A connection with `driver: kafka`.

    The polling thread puts chunks into the partitions and their topics' lines; the thread that pops owns all the rest.
    """

    def __init__(
        self,
        connection: str,
        settings: KafkaSettings,
        *,
        address: Callable[[], str | None],
        place: Place = any_partition,
        is_gone: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.connection = connection
        self.default_queue = settings.queue
        self.max_message_bytes = settings.max_message_bytes
        self.deadlock_wait = settings.sleep_on_deadlock
        self._settings = settings
        self._address = address
        self._place = place
        self._is_gone = is_gone
        self._producer: KafkaProducer | None = None
        self._poller: PollingThread | None = None
        self._bell: SimpleQueue[object] = SimpleQueue()
        self._lines: dict[str, deque[Partition]] = {}
        self._held: list[Partition] = []
        self._current: Partition | None = None
        self._chunk: Chunk = []
        self._is_waiting = False

    # pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when the broker has the message.

        Raises:
            UnsupportedDelay: there is a delay.
            BrokerUnavailable: the broker has not acknowledged within `dispatch_timeout`.
        """
        if delay > 0:
            raise UnsupportedDelay(
                f"The connection {self.connection!r} can't hold a job back: Kafka has no delay of its own. "
                f"Dispatch it without one, or let the job release itself."
            )
        self._check_size(message, queue)
        self._get_producer().send(queue, [(message, self._place(queue, message))], bulk=False)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Send many and wait once."""

        def placed() -> Iterable[tuple[Message, int]]:
            for message in messages:
                self._check_size(message, queue)
                yield message, self._place(queue, message)

        return self._get_producer().send(queue, placed(), bulk=True)

    def _check_size(self, message: Message, queue: str) -> None:
        size = len(message.payload) + len(message.key or b"")
        if size > self.max_message_bytes:
            raise MessageTooLarge(
                f"A message of {size:,} bytes is too large for {queue}: the connection {self.connection!r} takes "
                f"{self.max_message_bytes:,} (max_message_bytes)."
            )

    def _get_producer(self) -> KafkaProducer:
        if self._producer is None:
            config = self._settings.producer_config(self._address())
            self._producer = KafkaProducer(config, timeout=self._settings.dispatch_timeout)
        return self._producer

    # popping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, names: Sequence[str], bell: SimpleQueue[object]) -> None:
        """Join the group and begin to fetch."""
        self._bell = bell
        self._lines = {name: deque() for name in names}
        sleep = self._settings.sleep_on_error
        self._poller = PollingThread(
            self.connection,
            self._settings.consumer_config(self._address()),
            names,
            needed=self._settings.topics,
            prefetch=self._settings.prefetch,
            sleep_on_error=None if sleep is False else sleep,
            arrived=self._arrived,
            changed=self._changed,
            is_gone=self._is_gone,
        )
        self._poller.start()

    def pop(self, names: Sequence[str], wait: float) -> KafkaDelivery | None:
        """The next delivery; jobs that wait in their place come first when they are due."""
        if self._held:
            due = self._pop_due()
            if due is not None:
                return due
        partition = self._current
        if partition is not None and self._chunk and not partition.lost:
            if partition.held is None and (len(names) == 1 or not self._is_overtaken(names, partition.topic)):
                return KafkaDelivery(partition, self._chunk.pop())
            self._put_back(partition)
        return self._next(names, wait)

    def is_exhausted(self) -> bool:
        """Whether each assigned partition is read to an end, and nothing of it is left here."""
        poller = self._poller
        if poller is None or not poller.has_assignment or self._held or any(self._lines.values()):
            return False
        if self._current is not None and self._chunk and not self._current.lost:
            return False
        return all(partition.at_end for partition in poller.assigned())

    def polled_at(self) -> float:
        """When the consumer was last polled, on the monotonic clock."""
        return self._poller.polled_at if self._poller is not None else time.monotonic()

    def close(self, *, timeout: float) -> bool:
        """Commit what is finished, leave the group, and wait for what is still being sent."""
        deadline = time.monotonic() + timeout
        done = True
        if self._poller is not None:
            done = self._poller.stop(timeout=timeout)
            self._poller = None
        if self._producer is not None:
            done = self._producer.close(timeout=max(0.0, deadline - time.monotonic())) and done
            self._producer = None
        return done

    # called by the polling thread ──────────────────────────────────────────────────────────────────────────────────

    def _arrived(self, partition: Partition, chunk: Chunk) -> None:
        partition.waiting = self._held
        partition.chunks.append(chunk)
        self._lines[partition.topic].append(partition)
        self._changed()

    def _changed(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._bell.put(ARRIVED)

    # the thread that pops ──────────────────────────────────────────────────────────────────────────────────────────

    def _next(self, names: Sequence[str], wait: float) -> KafkaDelivery | None:
        until = time.monotonic() + wait
        while True:
            delivery = self._take(names)
            if delivery is not None:
                return delivery
            self._raise_failure()
            # Said before the last look: whatever arrives from now on rings the bell.
            self._is_waiting = True
            delivery = self._take(names) or self._pop_due()
            if delivery is not None:
                return delivery
            self._raise_failure()
            left = min([until, *(partition.due for partition in self._held)]) - time.monotonic()
            if left <= 0 and time.monotonic() >= until:
                return None
            try:
                token = self._bell.get(timeout=max(left, 0.0))
            except Empty:
                continue
            if token is not ARRIVED or self.is_exhausted():
                return None

    def _take(self, names: Sequence[str]) -> KafkaDelivery | None:
        """Begin the next chunk, the first name first."""
        for name in names:
            line = self._lines[name]
            while line:
                partition = line.popleft()
                if partition.lost:
                    continue
                if partition.held is not None:
                    partition.parked += 1
                    continue
                self._current, self._chunk = partition, partition.chunks.popleft()
                delivery = partition.first_of(self._chunk)
                if partition.held is None:
                    return delivery
                self._put_back(partition)
        return None

    def _pop_due(self) -> KafkaDelivery | None:
        now = time.monotonic()
        for partition in self._held:
            if partition.lost or partition.held is None:
                self._held.remove(partition)
                return self._pop_due()
            if partition.due <= now:
                self._held.remove(partition)
                return self._let_go(partition)
        return None

    def _let_go(self, partition: Partition) -> KafkaDelivery | None:
        """The delivery that waited; what was put aside because of it stands first in line again."""
        delivery, partition.held = partition.held, None
        line = self._lines[partition.topic]
        line.extendleft([partition] * partition.parked)
        partition.parked = 0
        return delivery

    def _put_back(self, partition: Partition) -> None:
        """Let go of the chunk in work; behind a held delivery it is put aside, else it stands first in line."""
        chunk, self._current, self._chunk = self._chunk, None, []
        if not chunk:
            return
        partition.chunks.appendleft(chunk)
        if partition.held is None:
            self._lines[partition.topic].appendleft(partition)
        else:
            partition.parked += 1

    def _is_overtaken(self, names: Sequence[str], topic: str) -> bool:
        return any(self._lines[name] for name in names[: names.index(topic)])

    def _raise_failure(self) -> None:
        if self._poller is None:
            raise QueueError(f"The connection {self.connection!r} is not open.")
        if self._poller.failure is not None:
            raise self._poller.failure
