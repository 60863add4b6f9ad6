"""The Kafka connection: what a worker pops from and everybody pushes to."""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from lamplighter.contracts import Databases, DriverDelivery, HasFurtherStart, HeldJob, Message, Sizes
from lamplighter.errors import ConfigError, MessageTooLarge, QueueError
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.delays import Delays
from lamplighter.kafka.monitoring.brokers import Brokers
from lamplighter.kafka.monitoring.counting import Counting
from lamplighter.kafka.monitoring.groups import isolation_of
from lamplighter.kafka.monitoring.stall import Stall
from lamplighter.kafka.monitoring.transactions import OpenTransactions
from lamplighter.kafka.polling.poller import PollingThread
from lamplighter.kafka.producing.partitioner import Partitioner, any_partition
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.scheduler import Scheduler
from lamplighter.kafka.settings.settings import NO_TOPIC, TOPIC_NAMES, KafkaSettings
from lamplighter.kafka.settings.tiers import LONGEST
from lamplighter.kafka.topics.identity import Identity
from lamplighter.queue.claims.check import ClaimCheck
from lamplighter.queue.claims.claims import refuse_claim
from lamplighter.queue.claims.pruning import Prunable
from lamplighter.queue.weights import parse_weights, queue_of, refusal
from lamplighter.queue.worker.runner import pushes_ahead
from lamplighter.support.forking import watch

ARRIVED = object()  # the token of an arrival; any other token makes `pop` return
LACKS = {
    "clear_delayed": "Delayed jobs stay, in their table and their topics (`queue:delayed`), and so do dead letters.",
}
AHEAD = 0.002  # seconds between two looks for messages, while acknowledgements are waited for


class KafkaQueue:
    """A connection with `driver: kafka`.

    The polling thread hands records to the scheduler; the thread that pops owns all the rest.
    """

    def __init__(
        self,
        connection: str,
        settings: KafkaSettings,
        *,
        address: Callable[[], str | None],
        partitioner: Partitioner = any_partition,
        where: Callable[[], str] | None = None,
        is_gone: Callable[[str], bool] = lambda address: False,
        clock: BrokerClock | None = None,
        databases: Callable[[], Databases] | None = None,
        instance_ids: Path | None = None,
        known: Collection[str] = (),
    ) -> None:
        self.connection = connection
        self.default_queue = settings.queue
        self.lacks: Mapping[str, str] = LACKS
        self._paused: frozenset[str] = frozenset()
        store = settings.claims
        above, limit = settings.claim_above, settings.max_message_bytes
        self._claims = None if store is None else ClaimCheck(store, group=settings.group, above=above, limit=limit)
        self.deadlock_wait = settings.sleep_on_deadlock
        self._settings = settings
        self._address = address
        self._partitioner = partitioner
        self._where = where
        self._is_gone = is_gone
        self._making = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._poller: PollingThread | None = None
        self.served_by = 0
        self._stall: Stall | None = None
        self._bell: SimpleQueue[object] = SimpleQueue()
        self._scheduler = Scheduler({self.default_queue: 1})
        self._is_waiting = False
        self.delays = Delays(
            connection,
            settings,
            address=address,
            partitioner=partitioner,
            producer=self._get_producer,
            clock=clock,
            databases=databases,
            instance_ids=instance_ids,
            known=known,
        )
        self.counting = Counting(settings, lambda: settings.client_config(address()), rows=self.delays.rows)
        watch(self, in_child=KafkaQueue._begin_as_child, locks=lambda queue: (queue._making,))

    def _begin_as_child(self) -> None:
        """Push as anybody does: the worker, its thread and what it has fetched are the parent's."""
        self._making = threading.Lock()
        self.served_by = 0
        self._poller = None
        self._stall = None
        self._bell = SimpleQueue()
        self._scheduler = Scheduler({self.default_queue: 1})

    # pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when the broker has the message; in a job of this worker at once, and the job waits for it then.

        Raises:
            UnsupportedDelay: the delay is longer than anything is kept.
            QueueError: the topic is missing, or refuses the message.
            BrokerUnavailable: the broker has not acknowledged within `dispatch_timeout`.
        """
        message = self._fit(message, queue)
        if delay > 0:
            if self.delays.holding.is_for_the_table(delay):
                self.delays.holding.put(message, queue, delay)
                return
            # A job for a topic that is missing fails here, as it does without a delay.
            self._get_producer().look_for(queue)
            queue, message = self.delays.holding.record(message, queue, delay)
        partition = self._partitioner(queue, message)
        pushes = pushes_ahead() if self.served_by else None
        if pushes is None:
            self._get_producer().send(queue, [(message, partition)], bulk=False)
        else:
            self._get_producer().send_ahead(queue, message, partition, pushes)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Send many and wait once."""

        def placed() -> Iterable[tuple[Message, int]]:
            for message in messages:
                fitting = self._fit(message, queue)
                yield fitting, self._partitioner(queue, fitting)

        return self._get_producer().send(queue, placed(), bulk=True)

    def _fit(self, message: Message, queue: str) -> Message:
        """The message as it travels."""
        if self._claims is not None:
            message = self._claims.fit(message, queue)
        limit = self._settings.max_message_bytes
        size = len(message.payload) + len(message.key or b"")
        if size > limit:
            raise MessageTooLarge(
                f"A message of {size:,} bytes is too large for {queue}: the connection {self.connection!r} takes "
                f"{limit:,} (max_message_bytes). Make it smaller, or give the connection a claim_check.",
                size=size,
                limit=limit,
            )
        return message

    def _get_producer(self) -> KafkaProducer:
        producer = self._producer
        if producer is not None:
            return producer
        with self._making:
            if self._producer is None:
                config = self._settings.producer_config(self._address())
                timeout = self._settings.dispatch_timeout
                self._producer = KafkaProducer(config, timeout=timeout, where=self._where)
            return self._producer

    # popping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(
        self,
        names: Sequence[str],
        bell: SimpleQueue[object],
        has_further_start: HasFurtherStart | None = None,
        *,
        slots: int = 1,
    ) -> None:
        """Join the group and begin to fetch."""
        self._bell = bell
        topics = weights(names)
        if self._settings.dead_letter_topic in topics:
            raise ConfigError(
                f"The topic {self._settings.dead_letter_topic} is the dead_letter_topic of the connection "
                f"{self.connection!r}: a worker would have its failed jobs come again for ever. Name another one; "
                f"`queue:retry` puts failed jobs back."
            )
        self._scheduler = Scheduler(
            topics,
            ordering=self._settings.ordering,
            block_limit=self._settings.key_block_limit,
            copies=self.delays.copies(self._reported),
            in_place=self._settings.retry_in_place,
            has_further_start=has_further_start,
            slots=slots,
            clock=self.delays.clock,
        )
        self.delays.start()
        sleep = self._settings.sleep_on_error
        self._poller = PollingThread(
            self.connection,
            self._settings.consumer_config(self._address()),
            list(topics),
            needed=self._settings.written,
            prefetch=self._settings.prefetch,
            prefetch_bytes=self._settings.prefetch_bytes,
            revoke_wait=min(self._settings.revoke_wait, self._settings.max_poll_interval / 2),
            # The embedded broker keeps nothing: a topic that is gone took its broker with it.
            identity=None if self._settings.is_embedded else Identity(self._settings.client_config(), list(topics)),
            sleep_on_error=None if sleep is False else sleep,
            scheduling=self._scheduler,
            changed=self._changed,
            is_gone=self._is_gone,
        )
        self._heed_pauses()
        self._stall = self._make_stall(self._poller)
        self._poller.start()
        self.served_by = os.getpid()

    def _make_stall(self, poller: PollingThread) -> Stall | None:
        after = self._settings.stall_after
        if not after:
            return None
        brokers = Brokers(self._settings.client_config(self._address()))
        transactions = OpenTransactions(brokers, isolation_of(self._settings.consumer_config()), tell_after=after)
        return Stall(after, poller, next_due=self._scheduler.next_due, transactions=transactions)

    def pop(self, names: Sequence[str], wait: float) -> KafkaDelivery | None:
        """The next delivery; what waits in its place comes first when it is due."""
        if self._producer is not None and self._producer.ahead:
            self._producer.serve(0)
        return self._scheduler.pop() or self._wait(wait)

    def serve(self, wait: float) -> None:
        """Take acknowledgements of what jobs have pushed, until one came, the bell rang or `wait` seconds are over."""
        if self._producer is not None and self._producer.ahead:
            self._producer.serve(wait)
        else:
            with suppress(Empty):
                self._bell.get(timeout=wait)
        self._scheduler.look()

    def pause(self, names: Collection[str]) -> None:
        """Begin nothing of these topics, and fetch no more of them; what is fetched goes on as soon as they do."""
        self._paused = frozenset(names)
        self._heed_pauses()
        self._bell.put(ARRIVED)

    def _heed_pauses(self) -> None:
        self._scheduler.pause(self._paused)
        if self._poller is not None:
            self._poller.paused = self._paused

    def prunable_claims(self) -> Prunable | None:
        """What `queue:prune-claims` may delete: what is older than the longest delay and all of a topic's retention."""
        if self._claims is None:
            return None
        hours = self._settings.retention_days * 24 + LONGEST / 3600
        return Prunable(self._claims.store, hours, self.delays.claims)

    def read_claim(self, delivery: DriverDelivery) -> bytes:
        """The payload that was put aside for a delivery."""
        return refuse_claim(delivery) if self._claims is None else self._claims.read(delivery)

    def is_exhausted(self) -> bool:
        """Whether each assigned partition that is not paused is read to an end, and nothing of it is left here."""
        poller = self._poller
        if (
            poller is None
            or not poller.has_assignment
            or not all(one.intake.at_end for one in poller.assigned() if one.topic not in self._paused)
        ):
            return False
        # Looked at last: what has come before a partition was read to its end, is there by now.
        return self._scheduler.is_empty

    def polled_at(self) -> float:
        """When the consumer was last polled, on the monotonic clock."""
        return self._poller.polled_at if self._poller is not None else time.monotonic()

    def stall(self, *, is_busy: bool) -> str | None:
        """What is seen when there is lag, and nothing has gone on for `stall_after` seconds."""
        return None if self._stall is None else self._stall.look(is_busy=is_busy)

    def sizes(self, queue: str) -> Sizes:
        """How many jobs a topic has that are not finished, and how many are to come to it later."""
        return self.counting.sizes(queue)

    def clear(self, queue: str) -> int:
        """Have the group go on at the end of a topic, as long as no worker is in it; how many jobs it passes over."""
        return self.counting.pass_over(queue)

    def held(self, *, most: int) -> list[HeldJob]:
        """The jobs that are due later, the earliest first."""
        return self.counting.held(most=most)

    def cancel(self, id: str) -> int:
        """Take back what waits in the table under this id; how many jobs that were."""
        return self.delays.cancel(id)

    def close(self, *, timeout: float) -> bool:
        """Commit what is finished, leave the group, and wait for what is still being sent."""
        deadline = time.monotonic() + timeout
        done = True
        self.served_by = 0
        self.delays.ask_to_stop(timeout=timeout)
        self._await_copies(time.monotonic() + timeout / 4)
        if self._poller is not None:
            done = self._poller.stop(timeout=max(0.0, deadline - time.monotonic()))
            self._poller = None
        if self._claims is not None:
            self._claims.give_back()
        done = self.delays.stop(timeout=max(0.0, deadline - time.monotonic())) and done
        if self._producer is not None:
            done = self._producer.close(timeout=max(0.0, deadline - time.monotonic())) and done
            self._producer = None
        return done

    def _await_copies(self, until: float) -> None:
        """Finish the originals of what has gone on as a copy; without its report an original runs again."""
        self._scheduler.look()
        while self._producer is not None and self._scheduler.has_copies_under_way and time.monotonic() < until:
            self._producer.serve(0.05)
            self._scheduler.look()

    # called by the polling thread ──────────────────────────────────────────────────────────────────────────────────

    def _changed(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._bell.put(ARRIVED)

    def _reported(self) -> None:
        """A copy's report has come, whichever thread took it; the one that pops deals with it."""
        self._bell.put(ARRIVED)

    # the thread that pops ──────────────────────────────────────────────────────────────────────────────────────────

    def _wait(self, wait: float) -> KafkaDelivery | None:
        until = time.monotonic() + wait
        if self._claims is not None:
            self._claims.give_back()
        while True:
            self._raise_failure()
            # Said before the look: whatever arrives from now on rings the bell.
            self._is_waiting = True
            delivery = self._scheduler.pop()
            if delivery is not None:
                return delivery
            self._raise_failure()
            now = time.monotonic()
            if now >= until:
                return None
            left = max(0.0, min(until, self._scheduler.next_due()) - now)
            try:
                if self._producer is not None and self._producer.ahead:
                    self._producer.serve(min(left, AHEAD))
                    token = self._bell.get_nowait()
                else:
                    token = self._bell.get(timeout=left)
            except Empty:
                continue
            if token is not ARRIVED or self.is_exhausted():
                return None

    def _raise_failure(self) -> None:
        if self._poller is None:
            raise QueueError(f"The connection {self.connection!r} is not open.")
        if self._poller.failure is not None:
            raise self._poller.failure


def weights(names: Sequence[str]) -> dict[str, int]:
    """How often each topic is chosen beside the others.

    Raises:
        ConfigError: a weight is no whole number, or 0, or a name is missing, there twice, or no topic's.
    """
    for name in names:
        topic = name.partition(":")[0]
        # Half of a surrogate pair, as of a byte of the command line that is no UTF-8, would end the interpreter.
        if NO_TOPIC.search(topic):
            raise ConfigError(f"--queue has {name!r}: no topic is called {topic!r}. {TOPIC_NAMES}")
        if queue_of(name) != topic:
            raise refusal(name)  # no topic has a colon in its name
    return parse_weights(names)
