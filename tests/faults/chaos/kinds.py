"""The kinds of jobs that a round may have: each draws one job of it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tests.faults.chaos.numbering import mark
from tests.faults.chaos.odd import ODD
from tests.faults.chaos.plan import Order, Setting

EVER = 1_000_000  # attempts
CHILDREN = 100_000  # from this number on jobs are pushed by others


@dataclass(frozen=True)
class Drawing:
    """What a kind is drawn from: the round's chance and setting, and the job as far as it is like all others."""

    chance: random.Random
    setting: Setting
    order: Order

    @property
    def tries(self) -> int:
        """How often a job is started that does not say it itself."""
        return self.setting.tries


def plain(drawing: Drawing) -> list[Order]:
    """Ends at once, or after a moment."""
    chance = drawing.chance
    way = chance.choice(("dispatch", "dispatch", "push", "many"))
    return [replace(drawing.order, way=way, does={"sleep": chance.choice((0, 0, 0, 0.02, 0.1))})]


def work(drawing: Drawing) -> list[Order]:
    """Takes the processor for some milliseconds."""
    return [replace(drawing.order, does={"work": drawing.chance.uniform(0.002, 0.03)})]


def slow(drawing: Drawing) -> list[Order]:
    """Waits for long."""
    return [replace(drawing.order, does={"sleep": drawing.chance.uniform(0.3, 1.5)})]


def retries(drawing: Drawing) -> list[Order]:
    """Fails first, then ends."""
    chance = drawing.chance
    tries = chance.randint(2, 5)
    backoff = tuple(round(chance.uniform(0, 1.2), 2) for _ in range(chance.randint(1, 2)))
    fail_until = chance.randint(1, tries - 1)
    return [replace(drawing.order, tries=tries, backoff=backoff, does={"fail_until": fail_until})]


def fails(drawing: Drawing) -> list[Order]:
    """Fails at each of its attempts."""
    chance = drawing.chance
    tries = chance.choice((None, 1, 2, 3))
    backoff = None if tries is None else (round(chance.uniform(0, 1), 2),)
    return [replace(drawing.order, fate="fails", tries=tries, backoff=backoff, does={"fail_until": EVER})]


def gives_up(drawing: Drawing) -> list[Order]:
    """Fails itself, though it had attempts left."""
    return [replace(drawing.order, fate="fails", tries=3, does={"wish": "fail"})]


def deletes(drawing: Drawing) -> list[Order]:
    """Deletes itself and raises then, which changes nothing."""
    return [replace(drawing.order, does={"wish": "delete"})]


def releases(drawing: Drawing) -> list[Order]:
    """Releases itself once or twice."""
    chance = drawing.chance
    does = {"release": round(chance.uniform(0.1, 1.2), 2), "release_until": chance.randint(1, 2)}
    return [replace(drawing.order, tries=chance.choice((3, 5)), does=does)]


def raises(drawing: Drawing) -> list[Order]:
    """Raises what is no Exception: at first, or at each attempt."""
    chance = drawing.chance
    how = chance.choice(("exit", "interrupt", "cancelled", "base"))
    order = replace(drawing.order, tries=2, backoff=(0.3,))
    if chance.random() < 0.5:
        return [replace(order, does={"raises": how, "fail_until": 1})]
    return [replace(order, fate="fails", does={"raises": how, "fail_until": EVER})]


def dies(drawing: Drawing) -> list[Order]:
    """Ends its process: at first, or at each attempt."""
    chance = drawing.chance
    how = chance.choice(("exit", "segfault", "kill", *(["parent"] if drawing.setting.pool == "process" else [])))
    order = replace(drawing.order, tries=2, backoff=(0.2,))
    if chance.random() < 0.5:
        return [replace(order, tries=4, does={"die": how, "die_until": 1})]
    return [replace(order, fate="fails", does={"die": how, "die_until": EVER})]


def overruns(drawing: Drawing) -> list[Order]:
    """Takes longer than its timeout: at first, or at each attempt."""
    chance = drawing.chance
    order = replace(drawing.order, timeout=1, tries=2, backoff=(0.2,))
    if chance.random() < 0.5:
        return [replace(order, tries=4, does={"sleep": 30, "sleep_until": 1})]
    return [replace(order, fate="fails", does={"sleep": 30})]


def pushes(drawing: Drawing) -> list[Order]:
    """Pushes other jobs, perhaps once more since it fails behind its first pushes."""
    chance, parent = drawing.chance, drawing.order
    children = [
        replace(
            parent,
            n=CHILDREN + parent.n * 10 + place,
            kind="pushed",
            job="chaos",
            parent=parent.n,
            way="dispatch",
            delay=chance.choice((0, 0, 0, round(chance.uniform(0.1, 3), 2))),
            topic=chance.randrange(len(drawing.setting.topics)),
            lane=chance.choice(("", parent.lane)),
        )
        for place in range(chance.randint(1, 3))
    ]
    told = [{"n": one.n, "delay": one.delay, "topic": one.topic, "lane": one.lane} for one in children]
    fail_until = chance.choice((0, 0, 1))
    does = {"children": told, "fail_until": fail_until}
    return [replace(parent, tries=3, backoff=(0.2,), does=does), *children]


def delayed(drawing: Drawing) -> list[Order]:
    """Runs some seconds later."""
    chance = drawing.chance
    way = chance.choice(("dispatch", "dispatch", "push"))
    return [replace(drawing.order, way=way, delay=round(chance.uniform(0.1, 5), 2))]


def far(drawing: Drawing) -> list[Order]:
    """Is due long after the round."""
    return [replace(drawing.order, fate="waits", delay=drawing.chance.choice((300.0, 800.0, 3600.0)))]


def cancelled(drawing: Drawing) -> list[Order]:
    """Waits in the table, where somebody may cancel it; where nobody does, it runs or still waits."""
    setting, chance = drawing.setting, drawing.chance
    soon = round(chance.uniform(5, 10), 2)
    is_soon = chance.random() < 0.5 and setting.delay_short < 5
    delay = soon if is_soon else 3600.0
    order = replace(drawing.order, lane="", fate="ends" if is_soon else "waits", delay=delay)
    return [replace(order, is_cancelled=setting.delay_store == "database")]


def large(drawing: Drawing) -> list[Order]:
    """Carries much."""
    chance = drawing.chance
    size = chance.choice((100_000, 300_000, 700_000) if drawing.setting.has_claims else (100_000, 400_000))
    size += chance.randrange(1000)
    # Its number stands in its key: a payload that is kept elsewhere does not show it.
    lane = mark(drawing.order.n).decode()
    order = replace(drawing.order, size=size, lane=lane, tries=2, backoff=(round(chance.uniform(0, 1), 2),))
    how = chance.choice(("ends", "ends", "retries", "fails"))
    if how == "fails":
        return [replace(order, fate="fails", does={"fail_until": EVER})]
    return [replace(order, does={"fail_until": 1} if how == "retries" else {"sleep": chance.choice((0, 0.2))})]


def many(drawing: Drawing) -> list[Order]:
    """Is handled with others in one call; one in five fails once, or each time."""
    chance = drawing.chance
    order = replace(drawing.order, job="chaos.many", way=chance.choice(("dispatch", "many")))
    if chance.random() < 0.8:
        return [order]
    order = replace(order, way="dispatch", tries=2, backoff=(0.2,))
    if chance.random() < 0.5:
        return [replace(order, does={"fail_until": 1})]
    return [replace(order, fate="fails", does={"fail_until": EVER})]


def row(drawing: Drawing) -> list[Order]:
    """Writes a row."""
    return [replace(drawing.order, job="chaos.row", tries=3, backoff=(0.5,))]


def odd(drawing: Drawing) -> list[Order]:
    """Is a message that other programs may write: with odd headers, keys and bytes."""
    make = drawing.chance.choice(ODD)
    return [make(drawing.chance, replace(drawing.order, way="raw", lane=""))]


@dataclass(frozen=True)
class Kind:
    """How often a kind is drawn beside the others, and how many of it a round has at most."""

    draw: Callable[[Drawing], list[Order]]
    weight: float
    most: int = EVER


KINDS: Mapping[str, Kind] = {
    "plain": Kind(plain, 10),
    "work": Kind(work, 3),
    "slow": Kind(slow, 2, most=5),
    "retries": Kind(retries, 4, most=60),
    "fails": Kind(fails, 2),
    "gives_up": Kind(gives_up, 1),
    "deletes": Kind(deletes, 1),
    "releases": Kind(releases, 2, most=30),
    "raises": Kind(raises, 2),
    "dies": Kind(dies, 0.5, most=1),
    "overruns": Kind(overruns, 0.5, most=1),
    "pushes": Kind(pushes, 3),
    "delayed": Kind(delayed, 4),
    "far": Kind(far, 0.5),
    "cancelled": Kind(cancelled, 1),
    "odd": Kind(odd, 2),
    "large": Kind(large, 1, most=8),
    "many": Kind(many, 4),
    "row": Kind(row, 2),
}
ASYNC = frozenset({"plain", "work", "slow", "retries", "fails", "gives_up", "releases", "raises", "dies", "overruns"})
