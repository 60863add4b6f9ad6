"""Who waits behind whom in one partition: jobs of one order key run one after the other, in the order of the log."""

from collections import deque
from collections.abc import Hashable
from typing import Any, Generic, Literal, Protocol, TypeVar

Ordering = Literal["none", "key", "partition"]

WHOLE = object()  # the order key of every job where the partition is kept in order as a whole
MOST_HELD = 1_000  # jobs that wait behind others of their order key, and their bytes
MOST_HELD_BYTES = 8 * 1024 * 1024


class Ordered(Protocol):
    """A job, as far as its order goes.

    Attributes:
        order_key: what must be kept in order with it; None where nothing must.
        holds_order: what follows it waits for it.
    """

    order_key: Hashable
    holds_order: bool

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Ordered)


class Queue(deque[T]):
    """What waits for one order key, behind those `holders` of it that are in hand or are to run again."""

    holders = 0


class Order(Generic[T]):
    """The order keys of one partition that a job holds, and the jobs that wait for them.

    Attributes:
        held, held_bytes: how many jobs wait, and the size of their records.
    """

    __slots__ = ("_ordering", "_queues", "held", "held_bytes")

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering
        self._queues: dict[Hashable, Queue[T]] = {}
        self.held = 0
        self.held_bytes = 0

    def __bool__(self) -> bool:
        """Whether a job holds an order key."""
        return bool(self._queues)

    @property
    def is_full(self) -> bool:
        """Whether no further job may be begun, since it might have to wait: all would, or too many do already."""
        return WHOLE in self._queues or self.held >= MOST_HELD or self.held_bytes >= MOST_HELD_BYTES

    def key_of(self, message: Any) -> Hashable:
        """The order key of a record; None where it may run at any time."""
        if self._ordering == "key":
            key: Hashable = message.key()
            return key
        return WHOLE if self._ordering == "partition" else None

    def must_wait(self, job: T) -> bool:
        """Whether another job holds the order key of this one."""
        return job.order_key is not None and job.order_key in self._queues

    def hold(self, job: T) -> None:
        """Let what follows a job wait until it is let go."""
        if job.order_key is not None and not job.holds_order:
            job.holds_order = True
            self._queues.setdefault(job.order_key, Queue()).holders += 1

    def wait(self, job: T, *, is_first: bool = False) -> None:
        """Let a job wait for those that hold its order key; as the next one, if it is the first."""
        queue = self._queues[job.order_key]
        (queue.appendleft if is_first else queue.append)(job)
        self.held += 1
        self.held_bytes += job.size

    def let_go(self, job: T) -> T | None:
        """A job holds its key no more; the one that may run now and holds the key, if there is one."""
        if not job.holds_order:
            return None
        job.holds_order = False
        queue = self._queues.get(job.order_key)
        if queue is None:
            return None  # all was forgotten while it was in hand
        queue.holders -= 1
        if queue.holders:
            return None
        if not queue:
            del self._queues[job.order_key]
            return None
        heir = queue.popleft()
        self.held -= 1
        self.held_bytes -= heir.size
        self.hold(heir)
        return heir

    def put_back(self, job: T) -> bool:
        """A job is to run again, before all that follow it; whether it may at once, holding its key, or waits first."""
        queue = self._queues.get(job.order_key)
        if queue is None:
            return True
        if job.holds_order:
            if queue.holders == 1:
                return True
            job.holds_order = False
            queue.holders -= 1
        self.wait(job, is_first=True)
        return False

    def clear(self) -> int:
        """Forget all, as the partition is not ours any more; how many jobs waited."""
        self._queues.clear()
        held, self.held, self.held_bytes = self.held, 0, 0
        return held
