"""The order in which a store is asked for jobs of queues that have weights."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lamplighter.queue.drivers.leasing.store import Lease
from lamplighter.queue.weights import charge


@dataclass(slots=True, eq=False)
class Turn:
    """One queue, see `lamplighter.queue.weights.Share`."""

    queue: str
    weight: int
    credit: float = 0


class Turns:
    """Which queue comes first in the next call; the others follow in it, so that an empty one keeps nobody waiting.

    Nobody knows which of them have jobs. One that was asked first and had none has waited for nothing; those that
    were not asked count as if they had some.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._turns = [Turn(queue, weight) for queue, weight in weights.items()]
        self._asked: list[Turn] = []

    def order(self, paused: Collection[str]) -> list[str]:
        """The queues as they are to be asked next, but for those that are paused."""
        going = [turn for turn in self._turns if turn.queue not in paused] if paused else self._turns
        self._asked = sorted(going, key=_first, reverse=True)  # those of the same rank stay in their order
        return [turn.queue for turn in self._asked]

    def took(self, leases: Sequence[Lease]) -> None:
        """These have begun, all of the first queue that had any."""
        queue = leases[0].queue if leases else None
        place = 0
        while place < len(self._asked) and self._asked[place].queue != queue:
            place += 1
        empty, others = self._asked[:place], self._asked[place:]
        if empty:
            _pass_on(empty, others)
        if others:
            charge(others, others[0], starts=len(leases))


def _first(turn: Turn) -> float:
    return turn.credit + turn.weight


def _pass_on(empty: Sequence[Turn], others: Sequence[Turn]) -> None:
    """What queues without jobs have been left behind by, the others have not had too much."""
    spare, weights = sum(turn.credit for turn in empty), sum(turn.weight for turn in others)
    for turn in empty:
        turn.credit = 0
    for turn in others:
        turn.credit += spare * turn.weight / weights
