"""What several queues of one worker have of its starts: an order that is strict, or shares by weight."""

from lamplighter.testing.conformance.base import message, needs, number_of
from lamplighter.testing.conformance.hands import OnQueues, Open


class SharingConformance(OnQueues):
    """A part of `QueueConformance`."""

    @needs("priority")
    def test_a_later_queue_waits_while_an_earlier_one_has_a_job(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened()
        high, low = queues
        hand.queue.bulk([message(0), message(1), message(2)], queue=low)
        hand.queue.push(message(10), queue=high)

        popped: list[int] = []
        pushes: tuple[int | None, ...] = (11, 12, None, None, None)
        for n in pushes:
            delivery = hand.pop()
            popped.append(number_of(delivery.payload))
            if n is not None:
                hand.queue.push(message(n), queue=high)
            delivery.delete()

        assert popped[:3] == [10, 11, 12]
        assert sorted(popped[3:]) == [0, 1]
