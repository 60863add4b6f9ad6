"""The stores of connections: their servers, what leads our worker to them, and the peers that use them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import services

CELERY = ("-A", "benchmarks.peer_celery", "worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle")
DRAMATIQ = ("benchmarks.peer_dramatiq", "-p", "1", "-t")
TASKIQ = ("worker", "benchmarks.peer_taskiq:broker", "-w", "1", "--log-level", "WARNING")
RQ = ("worker", "--quiet", "-w", "rq.worker.SimpleWorker", "--url", "{address}", "{queue}")
HUEY = ("benchmarks.peer_huey.huey", "-q", "-k", "thread", "-w")
PROCRASTINATE = ("-a", "benchmarks.peer_procrastinate.app", "worker", "--delete-jobs", "successful", "-c")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another queue: how its worker is started for no-op jobs, and for 16 jobs beside each other."""

    name: str
    program: str
    noops: Sequence[str]
    slots: Sequence[str]
    module: str
    prepare: Sequence[str] = ()
    has_bulk: bool = False
    jobs: int = 5_000
    note: str = ""


@dataclass(frozen=True)
class Running:
    """A store that runs: its address for others, and ours through a port."""

    address: str
    environment: Callable[[int], Mapping[str, str]]
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class Store:
    """What is measured. `connection` is ours in config/queue.py, and `loop` the bare loop's name for it."""

    name: str
    connection: str
    loop: str
    start: Callable[[Path], AbstractContextManager[Running]]
    limit: str
    peers: Sequence[Peer] = ()
    has_table: bool = False


@contextmanager
def _redis(folder: Path) -> Iterator[Running]:
    with services.redis(folder) as port:
        environment = {"REDIS_PREFIX": "bench-"}
        yield Running(
            f"redis://127.0.0.1:{port}/0",
            lambda port: {**environment, "REDIS_URL": f"redis://127.0.0.1:{port}/0"},
            port,
        )


@contextmanager
def _postgresql(folder: Path) -> Iterator[Running]:
    with services.postgresql(folder) as port:
        address = "postgresql://postgres@127.0.0.1:{}/postgres".format
        yield Running(
            address(port),
            lambda port: {"DB_CONNECTION": "pgsql", "DB_URL": address(port)},
            port,
        )


@contextmanager
def _sqlite(folder: Path) -> Iterator[Running]:
    path = str(folder / "jobs.sqlite")
    yield Running(path, lambda port: {"DB_CONNECTION": "sqlite", "DB_DATABASE": path})


@contextmanager
def _beanstalkd(folder: Path) -> Iterator[Running]:
    with services.beanstalkd(folder) as port:
        yield Running(f"127.0.0.1:{port}", lambda port: {"BEANSTALKD_QUEUE_PORT": str(port)}, port)


WITH_HUEY = Peer(
    name="Huey",
    program="huey_consumer",
    noops=(*HUEY, "1"),
    slots=(*HUEY, "16"),
    module="benchmarks.peer_huey",
    note="it acknowledges early",
)
ON_REDIS = (
    Peer(
        name="Celery, acks_late",
        program="celery",
        noops=(*CELERY, "-P", "solo"),
        slots=(*CELERY, "-P", "threads", "-c", "16"),
        module="benchmarks.peer_celery",
        jobs=3_000,
    ),
    Peer(
        name="Dramatiq",
        program="dramatiq",
        noops=(*DRAMATIQ, "8"),
        slots=(*DRAMATIQ, "16"),
        module="benchmarks.peer_dramatiq",
    ),
    Peer(
        name="taskiq, a stream",
        program="taskiq",
        noops=TASKIQ,
        slots=(*TASKIQ, "--max-async-tasks", "16"),
        module="benchmarks.peer_taskiq",
        has_bulk=True,
    ),
    Peer(
        name="RQ, SimpleWorker",
        program="rq",
        noops=RQ,
        slots=RQ,
        module="benchmarks.peer_rq",
        has_bulk=True,
        jobs=2_000,
    ),
    WITH_HUEY,
)
ON_POSTGRESQL = (
    Peer(
        name="procrastinate",
        program="procrastinate",
        noops=(*PROCRASTINATE, "1"),
        slots=(*PROCRASTINATE, "16"),
        module="benchmarks.peer_procrastinate",
        prepare=("-a", "benchmarks.peer_procrastinate.app", "schema", "--apply"),
        has_bulk=True,
        jobs=3_000,
    ),
)
ON_SQLITE = (WITH_HUEY,)
STORES = (
    Store(name="Redis", connection="redis", loop="redis", start=_redis, limit="at least 0.4", peers=ON_REDIS),
    Store(
        name="PostgreSQL",
        connection="database",
        loop="postgresql",
        start=_postgresql,
        limit="",
        peers=ON_POSTGRESQL,
        has_table=True,
    ),
    Store(
        name="SQLite",
        connection="database",
        loop="sqlite",
        start=_sqlite,
        limit="",
        peers=ON_SQLITE,
        has_table=True,
    ),
    Store(name="beanstalkd", connection="beanstalkd", loop="beanstalkd", start=_beanstalkd, limit=""),
)
