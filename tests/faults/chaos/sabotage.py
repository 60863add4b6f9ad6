"""Faults that rounds must find: each is put into the framework of a round's project, by its name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from tests.faults.chaos.drawing import draw
from tests.faults.chaos.plan import Order, Round

EVER = 1_000_000


@dataclass(frozen=True)
class Sabotage:
    """A fault, in which rounds it shows, and which promises it breaks.

    Attributes:
        name: in `application/Providers/sabotage_provider.py`.
        breaks: the names of the promises, each as a report has it; one of them is to be found broken.
        shows: whether a round has what the fault needs to do harm.
    """

    name: str
    breaks: frozenset[str]
    shows: Callable[[Round], bool]


def rounds_for(sabotage: Sabotage, first: int) -> Iterator[Round]:
    """The rounds from a seed on in which a fault shows; those with one broker are shorter."""
    return (round for seed in count(first) if (round := draw(seed)).setting.nodes == 1 and sabotage.shows(round))


def _has(round: Round, least: int, is_meant: Callable[[Order], bool]) -> bool:
    return sum(is_meant(order) for order in round.orders) >= least


def _retries(order: Order) -> bool:
    return order.kind in ("retries", "releases", "raises")


def _fails(order: Order) -> bool:
    return order.fate == "fails" and order.raw is None


def _with_key(order: Order) -> bool:
    return bool(order.lane) and (bool(order.does.get("sleep")) or _retries(order))


def _kills(order: Order) -> bool:
    return bool(order.does.get("die_until") == EVER)


SABOTAGES = (
    Sabotage(
        "retry_dropped",
        frozenset({"at least once", "copies arrive", "nothing stuck", "commits follow ends"}),
        lambda round: _has(round, 5, _retries),
    ),
    Sabotage(
        "delay_cut",
        frozenset({"never early"}),
        lambda round: _has(round, 5, lambda order: order.kind == "delayed"),
    ),
    Sabotage(
        "order_off",
        frozenset({"order is kept", "none runs beside another"}),
        lambda round: round.setting.ordering == "key" and _has(round, 10, _with_key),
    ),
    Sabotage(
        "tries_ignored",
        frozenset({"tries are kept"}),
        lambda round: _has(round, 5, _fails),
    ),
    Sabotage(
        "failed_lost",
        frozenset({"failed jobs are kept"}),
        lambda round: _has(round, 5, _fails),
    ),
    Sabotage(
        "committed_ahead",
        frozenset({"commits follow ends"}),
        lambda round: _has(round, 60, lambda order: order.fate == "ends"),
    ),
    Sabotage(
        "failed_changed",
        frozenset({"failed jobs are as they were"}),
        lambda round: _has(round, 5, _fails),
    ),
    Sabotage(
        "failed_told_twice",
        frozenset({"failed is called once"}),
        lambda round: _has(round, 5, _fails),
    ),
    Sabotage(
        "starts_forgotten",
        frozenset({"killers are given up", "nothing stuck", "at least once", "tries are kept"}),
        lambda round: round.setting.pool != "process" and _has(round, 1, _kills),
    ),
)
