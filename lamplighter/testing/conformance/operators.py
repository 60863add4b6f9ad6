"""What a `JobStore` promises to operators; a part of `StoreConformance`."""

from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore
from lamplighter.testing.conformance.asking import take, take_now
from lamplighter.testing.conformance.base import message, needs
from lamplighter.testing.conformance.leases import OnStores


class OperatorConformance(OnStores):
    """Clearing, and jobs that are due later."""

    @needs("clear", "two workers")
    def test_a_queue_is_cleared_of_what_waits_what_is_due_later_and_what_is_in_hand(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        delayed = int("delays" not in self.lacks)
        stays = int("clear_reserved" in store.lacks)
        store.push(queues[0], [message(n) for n in range(3)], 0)
        if delayed:
            store.push(queues[0], [message(9)], 30)
        [lease] = take(store, queues)

        count = other.clear(queues[0])

        assert count == 3 + delayed - stays
        sizes = other.sizes(queues[0])
        assert (sizes.pending, sizes.delayed, sizes.reserved) == (0, 0, stays)
        store.take((), 0, [Ended(lease, How.RELEASED)])
        assert len(take_now(other, queues)) == stays
