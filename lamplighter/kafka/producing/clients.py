"""librdkafka's producers of one connection: made when they are needed, replaced when they can't go on."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from lamplighter.kafka.settings.clientlog import client_logger
from lamplighter.kafka.settings.native import KafkaError, KafkaException, Producer
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

BESIDE = 0.001  # seconds of one poll where another producer's reports are awaited, too
TURN = 0.05  # seconds of one look in `close`


class Clients:
    """At most two producers at a time, each made once however many threads ask for it.

    There is one for everything. A second one for bulk pushes, with a linger of 20 ms, did not pay. Measured on one
    broker and two cores: both ways take 60,000 to 120,000 messages a second, and a bulk push of ten takes 23 ms with it
    and 1 ms without. Beside a bulk push 99 of 100 single ones took 9 to 15 ms at most, and take 30 to 54 ms.

    Attributes:
        why: why a producer was replaced the last time, and the reports of what it had in hand were bad.
        fatal: the fatal error that was the reason; None where it was another.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        on_error: Callable[[KafkaError], None],
        on_replaced: Callable[[], object],
    ) -> None:
        self.why = ""
        self.fatal: KafkaError | None = None
        self._config = dict(config)
        self._on_error = on_error
        self._on_replaced = on_replaced
        self._shared: Producer | None = None
        self._alone: Producer | None = None
        self._replaced: tuple[Producer, ...] = ()  # their last reports are still to come
        self._lock = threading.Lock()
        watch(self, in_child=Clients._begin_as_child, locks=lambda clients: (clients._lock,))

    @property
    def brokers(self) -> str:
        """The brokers, for messages."""
        return str(self._config["bootstrap.servers"])

    @property
    def config(self) -> Mapping[str, Any]:
        """What producers are told."""
        return self._config

    def shared(self) -> Producer:
        """The producer of all pushes but those of `alone`."""
        return self._shared or self._make_shared()

    def alone(self) -> Producer:
        """The producer that sends each message in a request of its own."""
        with self._lock:
            if self._alone is None:
                own = {"batch.num.messages": 1, "max.in.flight.requests.per.connection": 5}
                self._alone = self._make(own)
            return self._alone

    def is_alone(self, producer: Producer) -> bool:
        """Whether a producer is the present one of `alone`."""
        return producer is self._alone

    def are_busy(self) -> bool:
        """Whether a report may still come."""
        return any(map(len, self._there()))

    def poll(self, wait: float) -> None:
        """Take reports that have come, or the first one within `wait` seconds or less."""
        shared = self._shared
        if self._alone is None and not self._replaced and shared is not None:
            self._poll(shared, wait)
            return
        there = self._there()
        if not there:
            time.sleep(wait)  # whoever waits for reports must not spin
        for producer in there:
            self._poll(producer, min(wait, BESIDE))
        replaced = self._replaced
        if replaced:
            with self._lock:  # they are freed behind it, which may take its time
                self._replaced = tuple(producer for producer in self._replaced if len(producer))

    def give_up(self, producer: Producer) -> None:
        """Replace a producer that takes nothing any more."""
        self._poll(producer, 0)  # tells the fatal error, unless another thread was told
        self.replace(producer, "it takes nothing any more")

    def replace(self, producer: Producer, why: str) -> None:
        """Use this producer no more; whoever needs one next makes it. Its last reports are taken by `poll`."""
        with self._lock:
            if producer is self._shared:
                self._shared = None
            elif producer is self._alone:
                self._alone = None
            else:
                return  # another thread has met the same
            self._replaced = (*self._replaced, producer)
        self.why = why
        self._on_replaced()
        # librdkafka gives back what waits when the error is met; this is for what came in between.
        producer.purge(in_flight=False, blocking=False)
        log.warning("a producer can't go on; a new one is made", extra={"brokers": self.brokers, "reason": why})

    def move_to(self, brokers: str) -> None:
        """Go on with other brokers, where those before are gone for good, with all that they had."""
        with self._lock:
            if brokers == self.brokers:
                return  # another thread was faster
            why = f"the brokers {self.brokers} are gone"
            self._config["bootstrap.servers"] = brokers
            there = [producer for producer in (self._shared, self._alone) if producer is not None]
        for producer in there:
            self.fatal = None
            self.replace(producer, why)
            producer.purge(blocking=False)

    def close(self, until: float) -> bool:
        """Wait for what is still on its way, and let go of all producers; False when something is left."""
        # Taking reports may make a producer, for what another one refuses; and it needs the lock.
        while self.are_busy() and time.monotonic() < until:
            for producer in self._there():
                self._flush(producer, min(TURN, max(0.0, until - time.monotonic())))
        with self._lock:
            there, self._replaced = self._there(), ()
            self._shared = self._alone = None
        return not any(map(len, there))

    def _there(self) -> list[Producer]:
        return [producer for producer in (self._shared, self._alone, *self._replaced) if producer is not None]

    def _make_shared(self) -> Producer:
        with self._lock:
            if self._shared is None:
                self._shared = self._make({})
            return self._shared

    def _make(self, own: Mapping[str, Any]) -> Producer:
        return Producer({**self._config, **own, "error_cb": self._on_error, "logger": client_logger()})

    def _poll(self, producer: Producer, wait: float) -> None:
        try:
            producer.poll(wait)
        except KafkaException as error:
            self._end(producer, error.args[0])

    def _flush(self, producer: Producer, wait: float) -> None:
        try:
            producer.flush(wait)
        except KafkaException as error:
            self._end(producer, error.args[0])

    def _end(self, producer: Producer, fatal: KafkaError) -> None:
        """Deal with a fatal error, which confluent_kafka raises once, in whichever thread takes reports."""
        self.replace(producer, fatal.str())
        self.fatal, self.why = fatal, fatal.str()  # another thread may have replaced it, and not know the reason

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()  # the producers are the parent's, and refuse whatever is asked of them
