"""Puts jobs on queues, and returns when they are safe there."""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

from lamplighter.contracts import Events, Headers, Message, Queue
from lamplighter.database.transactions import Transactions
from lamplighter.errors import InvalidPayload, MessageTooLarge, QueueError
from lamplighter.logging.context import job_context
from lamplighter.queue.dispatching.readable import ReadablePayloads
from lamplighter.queue.events import JobQueued
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import new_id
from lamplighter.queue.jobs.retries import check_delay
from lamplighter.support.forking import notice_fork
from lamplighter.support.strings import is_utf8

if TYPE_CHECKING:
    from lamplighter.queue.jobs.registry import Registry
    from lamplighter.queue.manager import QueueManager

MOST_ID = 1000  # bytes of a key that is the payload's id, too


class Unset(Enum):
    """The key of a message that is given its id as key."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
Key = str | bytes | Unset | None


class Dispatcher:
    """Dispatches jobs that a worker can read; every method returns only when the queue has them.

    On a connection with `after_commit` it returns before that, in an open transaction of a session: the job is pushed
    when the transaction commits, so that what keeps it from being pushed is raised by the commit.
    """

    def __init__(
        self,
        queues: "QueueManager",
        events: Events,
        registry: "Callable[[], Registry]",
        *,
        transactions: Transactions | None = None,
    ) -> None:
        """Takes what gives the registry, which is asked for when the first job is dispatched."""
        self._transactions = transactions
        self._queues = queues
        self._events = events
        self._payloads = ReadablePayloads(registry)

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

        Connection and queue are those given, else those of the job's class, else of its route, else the default.

        Raises:
            InvalidPayload: no worker could read the job, or none knows its class.
            MessageTooLarge: the payload is larger than the queue takes.
            Unavailable: the queue did not acknowledge in time.
            UnsupportedDelay: the delay is no number of seconds, or longer than the connection holds jobs back.
        """
        _look_for_fork()
        own = job.key() if key is UNSET and isinstance(job, Job) else key
        key = UNSET if own is None and key is UNSET else own
        id, raw = _id_and_key(key, type(job).__qualname__)
        message = Message(self._payloads.of_job(job, id=id), raw)
        connection, queue = connection or job.connection, queue or job.queue
        if (routes := self._queues.routes) and not (connection and queue):
            route = routes.of(job)
            connection, queue = connection or route.connection, queue or route.queue
        self._push(message, id, connection, queue, delay)
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
        """Push a string job by its wire name, for whoever has registered it, here or elsewhere; the payload's id.

        Raises:
            InvalidPayload: JSON can't hold the data, the class that is registered here does not take them, or a header
                can't be sent.
            MessageTooLarge: the payload is larger than the queue takes.
            Unavailable: the queue did not acknowledge in time.
        """
        _look_for_fork()
        id, raw = _id_and_key(key, name)
        message = Message(self._payloads.of_data(name, data, id=id), raw, _sendable(headers, name) if headers else ())
        self._push(message, id, connection, queue, delay)
        return id

    def push_many(
        self,
        jobs: Iterable[tuple[str, object, Key]],
        *,
        connection: str | None = None,
        queue: str | None = None,
    ) -> int:
        """Push string jobs (name, data, key) and wait once for all of them; the number pushed.

        What ends it early, as an error that `jobs` raises, leaves those before it waited for; the error says how many
        of them are on the queue.

        Raises:
            InvalidPayload: one is no such triple, or no worker could read it; the message says which. Those before it
                are on the queue.
            MessageTooLarge: the payload of one is larger than a worker reads, or than the queue takes.
            Unavailable: the queue did not acknowledge in time.
        """
        _look_for_fork()
        target = self._queues.connection(connection)
        name = _queue_name(queue or target.default_queue)
        refused: list[QueueError] = []
        push = self._bulk_after_commit if (waits := self._waits_for_commit(target)) else _bulk
        count = push(target, self._messages(jobs, refused), name)
        if refused:
            where = "wait for the commit" if waits else "are on the queue"
            refused[0].args = (f"{refused[0]} The {count} before it in push_many {where}.",)
            raise refused[0]
        return count

    def _messages(self, jobs: Iterable[tuple[str, object, Key]], refused: list[QueueError]) -> Iterator[Message]:
        """Their messages up to one that is refused: what was sent before it must be waited for."""
        for job in jobs:
            try:
                name, data, key = _triple(job)
                id, raw = _id_and_key(key, name)
                message = Message(self._payloads.of_data(name, data, id=id), raw)
            except (InvalidPayload, MessageTooLarge) as error:
                refused.append(error)
                return
            yield message

    def _push(self, message: Message, id: str, connection: str | None, queue: str | None, delay: float) -> None:
        check_delay(delay)
        target = self._queues.connection(connection)
        name = _queue_name(queue or target.default_queue)
        if self._queues.after_commit and self._waits_for_commit(target):
            self._push_after_commit(target, message, id, name, delay)
            return
        target.push(message, queue=name, delay=delay)
        if self._events.listeners(JobQueued):
            self._events.dispatch(JobQueued(target.connection, name, id, message.payload))

    # after a commit ────────────────────────────────────────────────────────────────────────────────────────────────

    def _waits_for_commit(self, target: Queue) -> bool:
        transactions = self._transactions
        return target.connection in self._queues.after_commit and transactions is not None and transactions.is_open

    def _push_after_commit(self, target: Queue, message: Message, id: str, name: str, delay: float) -> None:
        def push() -> None:
            target.push(message, queue=name, delay=delay)
            self._events.dispatch(JobQueued(target.connection, name, id, message.payload))

        self._after_commit(push, target, queue=name, id=id)

    def _bulk_after_commit(self, target: Queue, messages: Iterable[Message], name: str) -> int:
        kept = list(messages)
        self._after_commit(lambda: target.bulk(kept, queue=name), target, queue=name, jobs=len(kept))
        return len(kept)

    def _after_commit(self, push: Callable[[], object], target: Queue, **fields: object) -> None:
        assert self._transactions is not None  # it was asked whether one is open
        self._transactions.after_commit(push, connection=target.connection, **fields)


def _bulk(target: Queue, messages: Iterable[Message], name: str) -> int:
    return target.bulk(messages, queue=name)


def _triple(job: object) -> tuple[str, object, Key]:
    if isinstance(job, tuple | list) and len(job) == 3:
        name, data, key = job
        return name, data, key
    raise InvalidPayload(
        f"push_many takes string jobs as (name, data, key); one of type {type(job).__qualname__} was not dispatched. "
        f"Jobs such as SendLetter(...) are dispatched one by one, by `dispatch`."
    )


def _queue_name(name: str) -> str:
    """A name that every driver can send; each may have narrower rules of its own."""
    if isinstance(name, str) and is_utf8(name):
        return name
    raise QueueError(f"A queue is named by text without half surrogate pairs; {name!r} is no such name.")


def _look_for_fork() -> None:
    """Before an id is taken. In a job it was looked for: workers are not forked by what Python does not know of."""
    if job_context.get() is None:
        notice_fork()


def _sendable(headers: Headers, job: str) -> Headers:
    """The headers, where each queue, and the table of long delays, can hold them."""
    pairs = tuple(headers)  # what can be read only once is read here
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidPayload(f"{job} was not dispatched: a header is a name with a value, and {pair!r} is none.")
        name, value = pair
        if not isinstance(name, str) or not is_utf8(name) or "\0" in name:
            raise InvalidPayload(
                f"{job} was not dispatched: it has a header {name!r}. A header's name is text without half surrogate "
                f"pairs and NULs."
            )
        if not isinstance(value, bytes | None):
            kind = type(value).__qualname__
            raise InvalidPayload(
                f"{job} was not dispatched: the value of its header {name!r} is of type {kind}, and has to be bytes or "
                f"None."
            )
    return pairs


def _id_and_key(key: Key, job: str) -> tuple[str, bytes | None]:
    """The payload's id, which is the key where that is text, as Laravel's correlation id; and the message's key.

    A key that is longer than any id has one beside it: it would take its room in the message twice.
    """
    if key is UNSET:
        id = new_id()
        return id, id.encode()
    if key is None:
        return new_id(), None
    try:
        raw = key.encode() if isinstance(key, str) else key
    except UnicodeEncodeError as error:
        raise InvalidPayload(f"{job} was not dispatched: its key holds half a surrogate pair.") from error
    if not isinstance(raw, bytes):
        kind = type(key).__qualname__
        raise InvalidPayload(f"{job} was not dispatched: a key is text, bytes or None, and this one is of type {kind}.")
    if not 0 < len(raw) <= MOST_ID:
        return new_id(), raw
    if isinstance(key, str):
        return key, raw
    try:
        return raw.decode(), raw
    except UnicodeDecodeError:
        return new_id(), raw
