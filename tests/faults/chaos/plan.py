"""What a round is made of, as values: a setting, jobs to dispatch, and disturbances; all of it drawn beforehand."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Fate = Literal["ends", "fails", "waits"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How brokers, application and workers are set up; what is not explained is a setting of the connection's.

    Attributes:
        nodes: of the cluster.
        pool, slots: of each worker, and the jobs that it runs beside each other.
        workers: how many of them run at first.
        topics: how often each is chosen, by `--queue`; 0 leaves it to its place in the list.
        partitions: of each topic.
        is_static: whether workers have names of their own in the group.
        is_skewed: whether their clocks are wrong, by half a minute.
        failed: where failed jobs are kept: `table`, `topic` or `both`.
        has_claims: whether large payloads are kept in files.
        database: `sqlite` or `pgsql`.
        tries, backoff: of jobs that don't say it themselves.
        grace: seconds that a job in hand has after TERM; None leaves it its own time.
        max_jobs, max_jobs_per_slot: after which a worker, or a slot, is renewed; 0 is never.
    """

    nodes: int = 1
    pool: str = "solo"
    slots: int = 1
    workers: int = 2
    topics: tuple[int, ...] = (0,)
    partitions: int = 4
    ordering: str = "key"
    retry_in_place: float = 60
    revoke_wait: float = 30
    prefetch: int = 4000
    protocol: str = "classic"
    is_static: bool = False
    is_skewed: bool = False
    delay_store: str = "database"
    delay_short: float = 900
    failed: str = "table"
    has_claims: bool = False
    database: str = "sqlite"
    tries: int = 1
    backoff: float = 0
    grace: float | None = None
    max_jobs: int = 0
    max_jobs_per_slot: int = 0


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A message that no `dispatch` would write, as hexadecimal texts; None is a null."""

    value: str | None
    key: str | None
    headers: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """One job to dispatch.

    Attributes:
        n: its number, which its payload has, too.
        at: seconds after the round's beginning at which it is dispatched.
        fate: what becomes of it where nobody kills anything: it ends, fails, or still waits when the round is over.
        job: its name on the wire.
        topic: which of the topics it goes to.
        lane: its key; "" leaves the choice to the framework, which takes the job's id.
        delay: seconds by which it is to run later.
        tries, backoff, timeout: its own; None leaves them to the worker.
        does: what its handler does.
        size: characters of a text that it carries.
        way: how it is dispatched: `dispatch`, `push` by its name, `many` in one call with others, or `raw`.
        parent: the number of the job that pushes it, where it isn't dispatched from outside; -1 for none.
        is_cancelled: somebody will try to cancel it.
    """

    n: int
    kind: str
    at: float
    fate: Fate = "ends"
    job: str = "chaos"
    topic: int = 0
    lane: str = ""
    delay: float = 0
    tries: int | None = None
    backoff: tuple[float, ...] | None = None
    timeout: float | None = None
    does: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    way: str = "dispatch"
    raw: Raw | None = None
    parent: int = -1
    is_cancelled: bool = False

    def __str__(self) -> str:
        return words({key: value for key, value in asdict(self).items() if value not in ("", {}, None, -1, False)})


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """One thing that is done to the round, `at` seconds after its beginning, for `seconds` where it lasts.

    Attributes:
        target: chooses among what is there at that moment: the `target`-th, counted round.
    """

    kind: str
    at: float
    seconds: float = 0.0
    target: int = 0

    def __str__(self) -> str:
        return words(asdict(self))


@dataclass(frozen=True)
class Round:
    """One round; the same seed gives the same one."""

    seed: int
    setting: Setting
    orders: tuple[Order, ...]
    disturbances: tuple[Disturbance, ...]

    def describe(self) -> str:
        """What was drawn, in a line each."""
        usual = asdict(Setting())
        setting = {key: value for key, value in asdict(self.setting).items() if value != usual[key] or key == "pool"}
        kinds = Counter(order.kind for order in self.orders)
        return "\n".join(
            [
                f"setting       {words(setting)}",
                f"jobs          {len(self.orders)}: {words(dict(sorted(kinds.items())))}",
                *(f"disturbance   {one}" for one in self.disturbances),
            ]
        )


def words(values: Mapping[str, Any]) -> str:
    """Names and values in one line; times to the millisecond."""

    def shown(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3f}".rstrip("0").rstrip(".")
        return value if isinstance(value, str) else json.dumps(value, default=str)

    return " ".join(f"{key}={shown(value)}" for key, value in values.items())
