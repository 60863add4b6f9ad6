"""All that a connection has for delayed jobs: where they wait, and the threads that move them to their queues."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamplighter.contracts import Databases
from lamplighter.errors import ConfigError
from lamplighter.kafka.delays.clock import BrokerClock, HostClock
from lamplighter.kafka.delays.copies import Copies
from lamplighter.kafka.delays.holding import Holding
from lamplighter.kafka.delays.instance_ids import HeldInstanceId, take_instance_id
from lamplighter.kafka.delays.mover import Mover
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.producing.partitioner import Partitioner
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.topics.retention import Retention
from lamplighter.support.forking import watch

if TYPE_CHECKING:
    from lamplighter.kafka.delays.rows.mover import RowMover
    from lamplighter.kafka.delays.rows.table import DelayedJobs

PATIENCE = 2.0  # seconds that the mover waits for one answer; it can ask again
LEAVE = 5.0  # seconds in which the threads are to end
QUEUED_KILOBYTES = 4_096  # that librdkafka fetches ahead for the mover
CLIENT_LIMIT = 256 * 1024 * 1024  # bytes of a message that the mover sends; its topic may take less
BATCH_BYTES = 1_000_000  # of several messages in one request: librdkafka's own default


class Delays:
    """The delays of one connection. Clients, threads and the table are made when they are first needed."""

    def __init__(
        self,
        connection: str,
        settings: KafkaSettings,
        *,
        address: Callable[[], str | None],
        partitioner: Partitioner,
        producer: Callable[[], KafkaProducer],
        clock: BrokerClock | None = None,
        databases: Callable[[], Databases] | None = None,
        instance_ids: Path | None = None,
        known: Collection[str] = (),
    ) -> None:
        clock = clock or BrokerClock()
        self.clock = HostClock(clock.shift) if settings.is_embedded else clock
        self._connection = connection
        self._settings = settings
        self._address = address
        self._partitioner = partitioner
        self._producer = producer
        self._databases = databases
        self._instance_ids = instance_ids
        self._instance_id: HeldInstanceId | None = None
        self._known = known
        self._is_store = settings.delay_store == "database"
        self._table: DelayedJobs | None = None
        self._is_there = self._is_store  # the table was found
        self._mover: Mover | None = None
        self._row_mover: RowMover | None = None
        self._making = threading.Lock()
        watch(self, in_child=Delays._begin_as_child, locks=lambda delays: (delays._making,))
        self.holding = Holding(
            connection,
            settings,
            self.clock,
            producer=producer,
            rows=self.table,
            retention=_for_ever if settings.is_embedded else Retention(lambda: settings.client_config(address())),
        )

    def table(self) -> "DelayedJobs":
        """The table of long delays.

        Raises:
            ConfigError: no database is configured for it.
        """
        with self._making:
            if self._table is None:
                self._table = self._make_table()
            return self._table

    def _make_table(self) -> "DelayedJobs":
        if self._databases is None:
            raise ConfigError(
                f"The connection {self._connection!r} keeps its long delays in a database (delay_store), and "
                f"config/database.py has none. Set delay_store to kafka (KAFKA_DELAY_STORE), or configure one."
            )
        from lamplighter.kafka.delays.rows.table import DelayedJobs

        settings = self._settings
        return DelayedJobs(
            self._databases(),
            connection=self._connection,
            database=settings.delay_database,
            table=settings.delay_table,
        )

    def _begin_as_child(self) -> None:
        """The threads that move jobs are the parent's, and so is their `group.instance.id`."""
        self._making = threading.Lock()
        self._mover = self._row_mover = self._instance_id = None

    def rows(self) -> "DelayedJobs | None":
        """The table where jobs may wait in it, whatever the store is now; None where there is none."""
        if self._is_there:
            return self.table()
        try:
            if self._databases is None or not self.table().is_there():
                return None
        except ConfigError:
            return None  # it is no setting of this store
        self._is_there = True
        return self.table()

    def claims(self) -> set[str]:
        """The names of the payloads that are put aside for jobs in the table.

        Raises:
            Unavailable: no database answers, so that nobody knows.
        """
        try:
            table = self.table() if self._databases is not None else None
        except ConfigError:
            return set()  # nothing can be put there
        return table.claims() if table is not None and table.is_there() else set()

    def cancel(self, id: str) -> int:
        """Delete rows; what waits in a topic can't be taken back."""
        table = self.rows()
        if table is None:
            return 0
        return table.cancel(id, self.holding.now(), timeout=self._settings.dispatch_timeout)

    def copies(self, changed: Callable[[], object]) -> Copies:
        """What lets retries travel; `changed` is called when a report has come, from any thread."""
        return Copies(
            self.holding,
            producer=self._producer,
            partitioner=self._partitioner,
            max_bytes=self._settings.max_message_bytes,
            changed=changed,
        )

    def start(self) -> None:
        """Begin to move what is due."""
        settings = self._settings
        if settings.delay_database and self._is_store:
            self.table()  # a connection that config/database.py does not have is told before anything runs
        # A producer of its own: reports are taken by the thread that owns what they are about.
        producer = KafkaProducer(self._producer_config(), timeout=PATIENCE, creating=0)
        config = self._consumer_config()
        self._instance_id = self._take_instance_id(config)
        self._mover = mover = Mover(
            config,
            settings.tiers,
            self.clock,
            producer,
            targets_of(settings),
            partitioner=self._partitioner,
            instance_id=self._instance_id,
        )
        mover.start()
        if self._databases is not None:
            from lamplighter.kafka.delays.rows.mover import RowMover

            self._row_mover = RowMover(
                self.rows,
                self.clock,
                self._producer,
                short=settings.delay_short,
                is_store=self._is_store,
                known=self._known,
                partitioner=self._partitioner,
                may_begin=lambda: mover.is_ready,
            )
            self._row_mover.start()

    def ask_to_stop(self, *, timeout: float) -> None:
        """Have both threads end behind what they move."""
        for thread in (self._row_mover, self._mover):
            if thread is not None:
                thread.ask_to_stop(timeout=min(timeout, LEAVE))

    def stop(self, *, timeout: float) -> bool:
        """Wait for the end of both threads; False when that has not come in time."""
        until = time.monotonic() + timeout
        threads = [thread for thread in (self._row_mover, self._mover) if thread is not None]
        self._row_mover = self._mover = None
        ended = [thread.stop(timeout=max(0.0, until - time.monotonic())) for thread in threads]
        if self._instance_id is not None and all(ended):
            self._instance_id.release()
        return all(ended)

    def _producer_config(self) -> dict[str, Any]:
        """Topics decide what is too large, not the client: a record that could not go on would hold the commit up."""
        settings = self._settings
        batch = min(BATCH_BYTES, settings.max_message_bytes)
        return {
            **settings.producer_config(self._address()),
            "message.max.bytes": CLIENT_LIMIT,
            "batch.size": batch,
        }

    def _consumer_config(self) -> dict[str, Any]:
        # With the protocol `consumer` an instance id is not free before the session of whoever was killed has ended.
        settings = replace(self._settings, group_protocol="classic")
        return {
            **settings.consumer_config(self._address()),
            "group.id": settings.delays_group,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "queued.max.messages.kbytes": QUEUED_KILOBYTES,
            # The embedded broker answers a waiting fetch only when its wait is over.
            **({"fetch.wait.max.ms": 100} if settings.is_embedded else {}),
        }

    def _take_instance_id(self, config: dict[str, Any]) -> HeldInstanceId | None:
        """An id of this host, so that no job waits for the session of a worker that was killed and started again."""
        if "group.instance.id" in config or self._settings.is_embedded or self._instance_ids is None:
            return None
        return take_instance_id(self._instance_ids, self._settings.delays_group)


def _for_ever(topic: str, wait: float) -> None:
    """What is not known."""
