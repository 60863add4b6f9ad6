"""Puts jobs on queues, and returns when they are safe there."""

import math
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Final

from lamplighter.contracts import Events, Headers, Message
from lamplighter.queue.events import JobQueued
from lamplighter.queue.job import Job
from lamplighter.queue.payload import new_id, write
from lamplighter.queue.retries import format_backoff

if TYPE_CHECKING:
    from lamplighter.queue.manager import QueueManager


class Unset(Enum):
    """The key of a message that is given its id as key."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
Key = str | bytes | Unset | None


class Dispatcher:
    """Dispatches jobs; every method returns only when the queue has them."""

    def __init__(self, queues: "QueueManager", events: Events) -> None:
        self._queues = queues
        self._events = events

    def dispatch(
        self,
        job: Job,
        *,
        connection: str | None = None,
        queue: str | None = None,
        key: Key = UNSET,
        delay: float = 0,
    ) -> str:
        """Push a job; the payload's id. The key is the one given, else `job.key()`, else the id.

        Raises:
            Unavailable: the queue did not acknowledge in time.
            UnsupportedDelay: a delay, on a connection that can't hold jobs back.
        """
        own = job.key() if key is UNSET else key
        key = UNSET if own is None and key is UNSET else own
        id = _id_for(key)
        payload = write(
            job.wire_name(),
            job.to_data(),
            id=id,
            max_tries=job.tries,
            backoff=format_backoff(job.backoff),
            timeout=job.timeout,
        )
        message = Message(payload, _key_bytes(key, id))
        self._push(message, id, connection or job.connection, queue or job.queue, delay)
        return id

    def later(
        self,
        delay: float,
        job: Job,
        *,
        connection: str | None = None,
        queue: str | None = None,
        key: Key = UNSET,
    ) -> str:
        """Push a job that is to run in `delay` seconds, or a little later; the payload's id."""
        return self.dispatch(job, connection=connection, queue=queue, key=key, delay=delay)

    def push(
        self,
        name: str,
        data: object,
        *,
        connection: str | None = None,
        queue: str | None = None,
        key: Key = UNSET,
        headers: Headers = (),
        delay: float = 0,
    ) -> str:
        """Push a string job by its wire name, for whoever has registered it; the payload's id.

        Raises:
            Unavailable: the queue did not acknowledge in time.
            MessageTooLarge: the payload is larger than the queue takes.
        """
        id = _id_for(key)
        message = Message(write(name, data, id=id), _key_bytes(key, id), headers)
        self._push(message, id, connection, queue, delay)
        return id

    def push_many(
        self,
        jobs: Iterable[tuple[str, object, Key]],
        *,
        connection: str | None = None,
        queue: str | None = None,
    ) -> int:
        """Push string jobs (name, data, key) and wait once for all of them; the number pushed."""
        target = self._queues.connection(connection)
        return target.bulk((self._message(*job) for job in jobs), queue=queue or target.default_queue)

    def _message(self, name: str, data: object, key: Key) -> Message:
        id = _id_for(key)
        return Message(write(name, data, id=id), _key_bytes(key, id))

    def _push(self, message: Message, id: str, connection: str | None, queue: str | None, delay: float) -> None:
        if not math.isfinite(delay):
            raise ValueError(f"A delay is a number of seconds; {delay!r} is none.")
        target = self._queues.connection(connection)
        name = queue or target.default_queue
        target.push(message, queue=name, delay=delay)
        if self._events.listeners(JobQueued):
            self._events.dispatch(JobQueued(target.connection, name, id, message.payload))


def _id_for(key: Key) -> str:
    """The payload's id is its key where that is text, as Laravel's correlation id."""
    if isinstance(key, str) and key:
        return key
    if isinstance(key, bytes) and key:
        try:
            return key.decode()
        except UnicodeDecodeError:
            return new_id()
    return new_id()


def _key_bytes(key: Key, id: str) -> bytes | None:
    if key is UNSET:
        return id.encode()
    return key.encode() if isinstance(key, str) else key
