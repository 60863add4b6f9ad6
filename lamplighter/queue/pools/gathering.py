"""Calls of many jobs that wait for more of them."""

from lamplighter.queue.guard.control import NEVER
from lamplighter.queue.worker.many import Many
from lamplighter.queue.worker.runner import Start


class Gathering:
    """The calls that are gathered, each of another class.

    Attributes:
        loose: the one of them whose jobs are not kept in hand, since nothing else has come after them: jobs of one key
            may be in one call.
    """

    def __init__(self) -> None:
        self.loose: Many | None = None
        self._calls: list[Many] = []

    def __bool__(self) -> bool:
        """Whether a call waits for more jobs."""
        return bool(self._calls)

    @property
    def until(self) -> float:
        """When the first of them is begun though it could take more, on the monotonic clock."""
        return min((many.until for many in self._calls), default=NEVER)

    def calls(self) -> list[Many]:
        """Those that wait; safe to ask from any thread."""
        return list(self._calls)

    def find(self, start: Start) -> Many | None:
        """The call that a job belongs into."""
        return next((many for many in self._calls if many.takes(start)), None)

    def add(self, many: Many) -> None:
        """One more call; nothing else has come after its job so far."""
        self.loose = many
        self._calls.append(many)

    def join(self, many: Many, start: Start) -> None:
        """One more job of a call."""
        many.add(start)
        if many is not self.loose:
            start.delivery.keep()

    def keep(self) -> None:
        """Something else has come."""
        if self.loose is not None:
            self.loose.keep()
            self.loose = None

    def due(self, now: float) -> list[Many]:
        """The calls that have waited long enough."""
        return [many for many in self._calls if many.until <= now]

    def remove(self, many: Many) -> None:
        """A call is begun."""
        self._calls.remove(many)
        if many is self.loose:
            self.keep()
