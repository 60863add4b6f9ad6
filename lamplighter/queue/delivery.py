"""A message in the worker's hand, as its handler sees it."""

from dataclasses import dataclass

from lamplighter.contracts import DriverDelivery, Headers
from lamplighter.errors import ManuallyFailed, QueueError
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.jobs.retries import check_delay


@dataclass(frozen=True, slots=True)
class Released:
    """What a handler asked for by `release(delay)`."""

    delay: float


@dataclass(frozen=True, slots=True)
class Failed:
    """What a handler asked for by `fail(error)`."""

    error: BaseException


class Deleted:
    """What a handler asked for by `delete()`."""


class InHand:
    """The delivery as its handler sees it: what it asks for is done by the worker, once, when the handler returns."""

    __slots__ = ("_delivery", "_payload", "attempts", "has_ended", "id", "wish")

    has_ended: bool  # set when what it has asked for is read; not there before, since one is made for each start

    def __init__(self, delivery: DriverDelivery, id: str, attempts: int, *, payload: bytes | None = None) -> None:
        self._delivery = delivery
        self._payload = payload  # where it is not the message's own
        self.id = id
        self.attempts = attempts
        self.wish: Deleted | Released | Failed | None = None

    @property
    def payload(self) -> bytes:
        """The payload's bytes."""
        return self._delivery.payload if self._payload is None else self._payload

    @property
    def key(self) -> bytes | None:
        """The message's key."""
        return self._delivery.key

    @property
    def headers(self) -> Headers:
        """The message's headers."""
        return self._delivery.headers

    @property
    def queue(self) -> str:
        """The name of the topic or list it came from."""
        return self._delivery.queue

    @property
    def connection(self) -> str:
        """The connection it came from."""
        return self._delivery.connection

    @property
    def position(self) -> str:
        """`topic[partition]@offset` on Kafka."""
        return self._delivery.position

    def delete(self) -> None:
        """The job is done, whatever the handler still does.

        Raises:
            QueueError: the job has ended already.
        """
        self._ask(Deleted())

    def release(self, delay: float = 0) -> None:
        """The job is to run again in `delay` seconds; the attempt counts.

        Raises:
            QueueError: the job has ended already.
            ValueError: the delay is no number of seconds. Said here, where it is the handler's own error.
        """
        check_delay(delay, ValueError)
        self._ask(Released(max(0, delay)))

    def fail(self, error: BaseException | None = None) -> None:
        """The job has failed for good.

        Raises:
            QueueError: the job has ended already.
            TypeError: the error is no exception. Said here, where it is the handler's own error.
        """
        if error is not None and not issubclass(type(error), BaseException):
            raise TypeError(f"A job fails with an exception; {error!r} is none.")
        failure = ManuallyFailed("The job's handler failed it.") if error is None else tellable(error)
        self._ask(Failed(failure))

    def _ask(self, wish: Deleted | Released | Failed) -> None:
        if hasattr(self, "has_ended"):
            raise QueueError(
                f"The job at {self.position} has ended: nothing can be asked of its delivery any more. "
                f"Let `handle` wait for the threads and tasks that it starts."
            )
        if self.wish is None:
            self.wish = wish
