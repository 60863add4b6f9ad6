"""What a worker knows of leased jobs, and their store does not."""

import heapq
import itertools
from collections import OrderedDict

from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.failed.attempts import without_attempts

NEVER = float("inf")
MOST_HELD = 100  # jobs that wait here; a worker that has so many takes no further job
MOST_EXCUSED = 1000  # jobs whose excuses are remembered


class Held:
    """Jobs that wait here: failed ones for their records, others that their store can't excuse; and their excuses."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, LeasedDelivery]] = []
        self._numbers = itertools.count()
        self._excused: OrderedDict[tuple[str, int], int] = OrderedDict()  # by hashes: a payload may be large

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the worker has enough of them."""
        return len(self._waiting) >= MOST_HELD

    def put(self, delivery: LeasedDelivery, due: float) -> None:
        """Hold a delivery until `due`, on the monotonic clock."""
        heapq.heappush(self._waiting, (due, next(self._numbers), delivery))

    def next_due(self) -> float:
        """When the first one is due; infinite without any."""
        return self._waiting[0][0] if self._waiting else NEVER

    def take_due(self, now: float) -> LeasedDelivery | None:
        """The first one that is due."""
        return heapq.heappop(self._waiting)[2] if self._waiting and self._waiting[0][0] <= now else None

    def excuse(self, delivery: LeasedDelivery) -> None:
        """It was released once more without counting its start."""
        self._excused[_job(delivery)] = delivery.excused + 1
        if len(self._excused) > MOST_EXCUSED:
            self._excused.popitem(last=False)

    def recall(self, delivery: LeasedDelivery) -> None:
        """Tell a delivery how often it was excused, since this worker had it first."""
        if self._excused:
            delivery.excused = self._excused.get(_job(delivery), 0)

    def forget(self, delivery: LeasedDelivery) -> None:
        """It has come to an end."""
        if self._excused:
            self._excused.pop(_job(delivery), None)


def _job(delivery: LeasedDelivery) -> tuple[str, int]:
    """What knows a job again, also where its store has written the starts before into its payload."""
    return delivery.queue, hash(without_attempts(delivery.payload))
