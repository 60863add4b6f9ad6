"""Pushes onto the first connection that takes a job; jobs are taken from the first of all."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from typing import TypeVar

from lamplighter.contracts import Events, HeldJob, Message, Queue, Sizes
from lamplighter.errors import QueueError, Unavailable, UnsupportedDelay
from lamplighter.logging.context import job_context
from lamplighter.queue.drivers.failover.breaker import CircuitBreaker
from lamplighter.queue.drivers.failover.first import WorkedByFirst
from lamplighter.queue.drivers.failover.members import cancel_in, held_by, lacks_of, others_that_keep_jobs
from lamplighter.queue.events import QueueFailedOver
from lamplighter.queue.failed.trace import message as text_of
from lamplighter.queue.failed.trace import one_line, tellable
from lamplighter.queue.parts import parts_of

log = logging.getLogger(__name__)

T = TypeVar("T")
Push = Callable[[Queue, str], T]


class FailoverQueue(WorkedByFirst):
    """Each of its connections has a circuit breaker, so that an outage costs one timeout and not one a push.

    What the first connection refuses for what it is, such as a message that is too large, is refused: no other one is
    asked. While the first one is away, what another refuses goes on to the next. The name of the first connection's own
    queue stands for the own queue of each.
    """

    def __init__(
        self, connection: str, queues: Sequence[Queue], events: Events, breakers: Sequence[CircuitBreaker]
    ) -> None:
        super().__init__(queues[0])
        self.connection = connection
        self.lacks = lacks_of(queues)
        self._queues = queues
        self._members = list(zip(queues, breakers, strict=True))
        self._events = events

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when one of the connections has the message.

        Raises:
            Unavailable: none takes it while the first one is away; the message says why, of each.
            QueueError: the first one can't take it.
        """

        def push(target: Queue, name: str) -> None:
            # What is first is known to whoever pushes here; the others are not to run a job earlier than it is due.
            if delay > 0 and "delay" in target.lacks and target is not self.first:
                raise UnsupportedDelay(f"It holds no job back. {target.lacks['delay']}")
            target.push(message, queue=name, delay=delay)

        self._push(queue, push)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Push many, hundreds at a time, each part onto the first connection that answers; the number pushed.

        A part that a connection did not acknowledge as a whole goes to the next as a whole: some of its jobs may run
        twice, and none is lost.
        """
        count = 0
        stopped: list[Exception] = []
        for part in parts_of(_until_error(messages, stopped)):
            try:
                self._push(queue, _bulk_of(part))
            except QueueError as error:
                if count:
                    error.args = (f"{error} The first {count:,} are on the queue.",)
                raise
            count += len(part)
        if stopped:
            if count:
                stopped[0].add_note(f"The {count:,} messages before it are on the queue.")
            raise stopped[0]
        return count

    def sizes(self, queue: str) -> Sizes:
        """How many jobs the first connection has; a note names the others."""
        sizes = super().sizes(queue)
        places = (f"{each.connection}:{self._name_on(each, queue)}" for each in others_that_keep_jobs(self._queues))
        others = ", ".join(places)
        note = f"These are the jobs of {self.first.connection}; what went to others is counted there ({others})."
        return replace(sizes, notes=(*sizes.notes, note)) if others else sizes

    def held(self, *, most: int) -> Sequence[HeldJob]:
        """The jobs of all connections that are due later."""
        return held_by(self._queues, most=most)

    def cancel(self, id: str) -> int:
        """Take back what waits under this id, on whichever connection."""
        return cancel_in(self._queues, id)

    def _push(self, queue: str, push: Push[T]) -> T:
        missed: list[tuple[str, QueueError]] = []
        for target, breaker in self._in_order():
            name = self._name_on(target, queue)
            failed = target.connection
            try:
                with breaker.call(
                    on_open=lambda error, failed=failed: self._tell_outage(failed, error),  # type: ignore[misc]
                    on_close=lambda failed=failed: self._tell_return(failed),  # type: ignore[misc]
                ):
                    result = _acknowledged(push, target, name)
            except QueueError as error:
                # A job that was run in its push is not to be run once more elsewhere.
                if error.of_job or (target is self.first and not isinstance(error, Unavailable)):
                    raise
                missed.append((failed, error))
                continue
            self._tell_failed_over(queue, missed)
            return result
        why = "; ".join(f"{failed}: {text_of(error).rstrip('.')}" for failed, error in missed)
        raise Unavailable(f"No connection of {self.connection!r} takes the job. {why}.") from missed[0][1]

    def _name_on(self, target: Queue, queue: str) -> str:
        """What the first calls its own queue each has by another name."""
        return target.default_queue if queue == self.default_queue else queue

    def _in_order(self) -> Iterator[tuple[Queue, CircuitBreaker]]:
        """Those that are to be tried; where none of them answers, those that were passed over, too."""
        passed_over = []
        for member in self._members:
            if member[1].admits():
                yield member
            else:
                passed_over.append(member)
        yield from passed_over

    def _tell_outage(self, failed: str, error: Unavailable) -> None:
        fields = {"connection": self.connection, "failed": failed, "reason": one_line(error)}
        log.warning("a queue connection does not answer; for a while jobs go to the next one", extra=fields)

    def _tell_return(self, failed: str) -> None:
        log.info("a queue connection answers again", extra={"connection": self.connection, "returned": failed})

    def _tell_failed_over(self, queue: str, missed: Sequence[tuple[str, QueueError]]) -> None:
        for failed, error in missed:
            try:
                self._events.dispatch(QueueFailedOver(self.connection, failed, queue, error))
            except Exception as raised:  # the job is on a queue by now
                log.error("a listener raised", exc_info=tellable(raised))


def _acknowledged(push: Push[T], target: Queue, name: str) -> T:
    """Push, and wait until it is safe: a job's pushes onto the connection that it came from go ahead else."""
    if not getattr(target, "served_by", 0):  # the process of a worker, where the target can be worked
        return push(target, name)
    context = copy_context()
    context.run(job_context.set, None)
    return context.run(push, target, name)


def _bulk_of(part: Sequence[Message]) -> Push[int]:
    return lambda target, name: target.bulk(part, queue=name)


def _until_error(messages: Iterable[Message], stopped: list[Exception]) -> Iterator[Message]:
    """The messages up to an error that they raise, which is put into `stopped`."""
    try:
        yield from messages
    except Exception as error:
        stopped.append(error)
