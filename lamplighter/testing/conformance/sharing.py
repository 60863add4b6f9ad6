"""What several queues of one worker have of its starts: an order that is strict, or shares by weight."""

from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from lamplighter.contracts import WorkQueue
from lamplighter.errors import ConfigError
from lamplighter.testing.conformance.base import message, needs, number_of
from lamplighter.testing.conformance.hands import OnQueues, Open


class SharingConformance(OnQueues):
    """A part of `QueueConformance`."""

    @needs("priority")
    @pytest.mark.parametrize("slots", [1, 3])
    def test_a_later_queue_waits_while_an_earlier_one_has_a_job(
        self, opened: Open, queues: tuple[str, str], slots: int
    ) -> None:
        hand = opened(slots=slots)
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

    @needs("weights")
    @pytest.mark.parametrize("slots", [1, 4])
    def test_queues_with_weights_have_their_shares(self, opened: Open, queues: tuple[str, str], slots: int) -> None:
        first, second = queues
        hand = opened([f"{first}:1", f"{second}:3"], slots=slots)
        for name in queues:
            hand.queue.bulk([message(n) for n in range(24)], queue=name)

        popped = [hand.pop() for _ in range(slots - 1)]  # in hand, beside those that come and go
        for _ in range(25 - slots):
            popped.append(hand.pop())
            popped[-1].delete()

        counts = Counter(delivery.queue for delivery in popped)
        assert counts[first] + counts[second] == 24
        assert abs(counts[second] - 18) <= slots

    @needs("weights")
    def test_a_queue_with_a_weight_and_no_job_keeps_nobody_waiting(self, opened: Open, queues: tuple[str, str]) -> None:
        empty, full = queues
        hand = opened([f"{empty}:9", full])
        hand.queue.bulk([message(n) for n in range(6)], queue=full)
        hand.pop().delete()  # it has looked

        for _ in range(5):
            delivery = hand.queue.pop(hand._names, 0)
            assert delivery is not None
            delivery.delete()

        assert hand.look(0.1) is None

    @needs("weights")
    def test_of_a_paused_queue_with_a_weight_nothing_is_taken(self, opened: Open, queues: tuple[str, str]) -> None:
        first, second = queues
        hand = opened([f"{first}:9", f"{second}:1"])
        for name in queues:
            hand.queue.bulk([message(n) for n in range(3)], queue=name)
        hand.queue.pause([first])

        popped = []
        for _ in range(3):
            popped.append(hand.pop())
            popped[-1].delete()

        assert {delivery.queue for delivery in popped} == {second}
        assert hand.look(0.1) is None

    @needs("weights")
    @pytest.mark.parametrize("name", ["{}:0", "{}:", "{}:-1", "{}:1.5", ":3", "{}"])
    def test_a_weight_that_is_none_is_refused(
        self, connect: Callable[[], WorkQueue], queues: tuple[str, str], name: str
    ) -> None:
        names = [f"{queues[0]}:2", name.format(queues[0])]

        with pytest.raises(ConfigError, match="a whole number from 1"):
            connect().open(names, SimpleQueue())
