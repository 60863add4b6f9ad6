"""The queues that `--queue` names, and how often each is chosen beside the others."""

import re
from collections.abc import Sequence
from typing import Protocol

from lamplighter.errors import ConfigError

NUMBER = re.compile(r"[-+\d.]*")  # what is meant as a weight, or was left out


class Share(Protocol):
    """A queue beside others.

    Attributes:
        weight: how often it is chosen beside the others that have something.
        credit: what it has been left behind by, in such turns.
    """

    weight: int
    credit: float


def queue_of(name: str) -> str:
    """The queue that `--queue` names, without the weight that may stand behind it: `high` of `high:8`."""
    queue, colon, weight = name.rpartition(":")
    return queue if colon and weight.isdecimal() else name


def has_weights(names: Sequence[str]) -> bool:
    """Whether one of the queues has a weight."""
    return any(queue_of(name) != name for name in names)


def parse_weights(names: Sequence[str]) -> dict[str, int]:
    """How often each queue is chosen beside the others: `--queue=high:8,low:1`, or eight times the next without.

    Raises:
        ConfigError: a weight is no whole number, or 0, or a name is missing, or there twice.
    """
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        queue = queue_of(name)
        weight = name[len(queue) + 1 :]
        _, colon, tail = name.rpartition(":")
        is_none = bool(colon and NUMBER.fullmatch(tail)) and not (weight and int(weight))
        if not queue or queue in found or is_none:
            raise refusal(name)
        found[queue] = int(weight) if weight else 8 ** min(len(names) - 1 - place, 6)
    return found


def refusal(name: str) -> ConfigError:
    """The error that names what `--queue` can't have."""
    return ConfigError(
        f"--queue has {name!r}: name each queue once, and give it a weight behind a colon or none, which is a whole "
        f"number from 1, as in `--queue=high:20,low:1`."
    )


def charge(able: Sequence[Share], chosen: Share, *, starts: int = 1) -> None:
    """Smooth weighted turns: of those that have something, one has begun so many jobs.

    Whoever has the most `credit + weight` is chosen. What has more weight comes first and more often, and nothing
    starves.
    """
    for one in able:
        one.credit += one.weight * starts
    chosen.credit -= sum(one.weight for one in able) * starts
