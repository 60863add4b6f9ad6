"""Draws a round: everything comes from one random.Random(seed), and is drawn before anything begins."""

import random
from collections import Counter
from collections.abc import Collection

from tests.faults.chaos.kinds import ASYNC, KINDS, Drawing
from tests.faults.chaos.plan import Disturbance, Order, Round, Setting

SECONDS = 8.0  # of dispatching and disturbing
JOBS = (60, 180)
POOLS = ("solo", "thread", "async", "process")
SLOTS = {"solo": (1, 1), "thread": (2, 8), "async": (2, 20), "process": (1, 3)}
HARM = frozenset({"broker_kill", "broker_freeze"})

# How often each disturbance is drawn beside the others, and for how many seconds it lasts.
DISTURBANCES: dict[str, tuple[float, tuple[float, float]]] = {
    "kill": (5, (0, 0)),
    "term": (2, (0, 0)),
    "stop": (2, (0.5, 8)),
    "restart": (1, (0, 0)),
    "scale": (2, (0, 0)),
    "kill_slot": (1, (0, 0)),
    "pause": (1, (0.5, 4)),
    "down": (1, (0.5, 4)),
    "broker_kill": (3, (0.5, 5)),
    "broker_freeze": (3, (0.5, 8)),
    "lock": (1, (0.5, 5)),
    "database_away": (1, (0.5, 5)),
    "retry": (2, (0, 0)),
    "cancel": (3, (0, 0)),
    "partitions": (1, (0, 0)),
    "kill_dispatcher": (1, (0, 0)),
    "look": (1, (0, 0)),
}


def draw(seed: int, *, jobs: Collection[str] = (), disturbances: Collection[str] | None = None) -> Round:
    """The round of a seed; `jobs` and `disturbances` leave out all but these kinds, and change nothing else of it."""
    chance = random.Random(seed)
    setting = _setting(chance)
    orders = _orders(chance, setting)
    blows = _disturbances(chance, setting, orders)
    return Round(
        seed,
        setting,
        tuple(order for order in orders if not jobs or {order.kind, _parent(order, orders).kind} & set(jobs)),
        tuple(one for one in blows if disturbances is None or one.kind in disturbances),
    )


def _setting(chance: random.Random) -> Setting:
    pool = chance.choice(POOLS)
    protocol = chance.choice(("classic", "classic", "consumer"))
    return Setting(
        nodes=chance.choice((1, 1, 1, 3)),
        pool=pool,
        slots=chance.randint(*SLOTS[pool]),
        workers=chance.randint(1, 3),
        topics=chance.choice(((0,), (0,), (0, 0), (20, 1))),
        partitions=chance.choice((1, 2, 3, 4, 6)),
        ordering=chance.choice(("key", "key", "key", "partition", "none")),
        retry_in_place=chance.choice((60.0, 60.0, 0.5, 0.0)),
        revoke_wait=chance.choice((30.0, 30.0, 1.0, 0.0)),
        prefetch=chance.choice((4000, 50, 5)),
        protocol=protocol,
        is_static=chance.random() < 0.3,
        is_skewed=chance.random() < 0.3,
        delay_store=chance.choice(("database", "database", "kafka")),
        delay_short=chance.choice((2.0, 900.0)),
        failed=chance.choice(("table", "topic", "both")),
        has_claims=chance.random() < 0.4,
        database=chance.choice(("sqlite", "sqlite", "pgsql")),
        tries=chance.choice((1, 1, 2, 3)),
        backoff=chance.choice((0.0, 0.3)),
        grace=chance.choice((None, None, 1.0)),
        max_jobs=chance.choice((0, 0, 0, 60)),
        max_jobs_per_slot=chance.choice((0, 15)) if pool == "process" else 0,
    )


def _orders(chance: random.Random, setting: Setting) -> list[Order]:
    kinds = ["plain", *(kind for kind in KINDS if kind != "plain" and chance.random() < 0.6)]
    lanes = chance.choice((1, 4, 20))
    counts: Counter[str] = Counter()
    orders: list[Order] = []
    for n in range(chance.randint(*JOBS)):
        [kind] = chance.choices(kinds, [KINDS[kind].weight for kind in kinds])
        if counts[kind] >= KINDS[kind].most:
            kind = "plain"
        counts[kind] += 1
        order = Order(
            n=n,
            kind=kind,
            at=chance.uniform(0, SECONDS),
            topic=chance.randrange(len(setting.topics)),
            lane=f"lane-{chance.randrange(lanes)}" if chance.random() < 0.5 else "",
            job="chaos.async"
            if kind in ASYNC and chance.random() < (0.7 if setting.pool == "async" else 0.2)
            else "chaos",
        )
        orders += KINDS[kind].draw(Drawing(chance, setting, order))
    return sorted(orders, key=lambda order: order.at)


def _disturbances(chance: random.Random, setting: Setting, orders: list[Order]) -> list[Disturbance]:
    # Most rounds leave their brokers alone: what is found beside harm to them is easier to understand.
    has_harm = chance.random() < 0.3
    able = {
        "kill_slot": setting.pool == "process",
        "database_away": setting.database == "pgsql",
        "cancel": any(order.is_cancelled for order in orders),
        **dict.fromkeys(HARM, has_harm),
    }
    kinds = [kind for kind in DISTURBANCES if able.get(kind, True)]
    drawn = []
    for kind in chance.choices(kinds, [DISTURBANCES[kind][0] for kind in kinds], k=chance.randint(2, 7)):
        seconds = chance.uniform(*DISTURBANCES[kind][1])
        at = chance.uniform(0.5, SECONDS)
        drawn.append(Disturbance(kind=kind, at=at, seconds=seconds, target=chance.randrange(1000)))
    return sorted(drawn, key=lambda one: one.at)


def _parent(order: Order, orders: list[Order]) -> Order:
    return order if order.parent < 0 else next(one for one in orders if one.n == order.parent)
