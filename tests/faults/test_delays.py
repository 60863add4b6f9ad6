"""Jobs that wait, while workers, brokers and databases go away: fault tests 17 and 18."""

import json
import os
import signal
import statistics
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, Fleet, seed
from tests.faults.ledger import Line
from tests.faults.proxy import Proxy
from tests.harness import Broker, Node, free_ports, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.kafka]

EARLY = -0.002  # seconds; brokers count in milliseconds
CLOCK = '''
"""A worker whose wall clock is wrong by CLOCK_SKEW seconds."""

import os
import time

from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.support.provider import ServiceProvider


class ClockProvider(ServiceProvider):
    """Puts a clock in the place of the usual one."""

    def register(self) -> None:
        """As on a host whose clock was stepped."""
        skew = float(os.environ.get("CLOCK_SKEW", "0"))
        self.app.instance(BrokerClock, BrokerClock(wall=lambda: time.time() + skew))
'''


def _with_clock(fleet: Fleet) -> None:
    (fleet.project.folder / "app/clock_provider.py").write_text(CLOCK)
    bootstrap = fleet.project.folder / "bootstrap/app.py"
    last = '"lamplighter.kafka.provider:KafkaServiceProvider",'
    bootstrap.write_text(bootstrap.read_text().replace(last, f'{last} "app.clock_provider:ClockProvider",'))


@pytest.mark.parametrize("steady", [True, False] if LONG else [True])
def test_delayed_jobs_through_kills_of_workers_and_broker(node: Node, make_fleet: MakeFleet, steady: bool) -> None:
    """Invariant: with kill -9 of workers and broker and clocks 30 s wrong none runs early, and none is lost.

    Beside one that is not killed, half of what is due while there is a broker starts within a second.
    """
    chance = seed()
    count, longest = (1000, 60.0) if LONG else (150, 12.0)
    fleet = make_fleet(Broker(node.address))
    _with_clock(fleet)
    fleet.project.artisan("kafka:topics", "--create")
    workers = [fleet.worker(CLOCK_SKEW="30"), fleet.worker(CLOCK_SKEW="-30")]
    _warm_up(fleet, count)
    producer = fleet.produce(count, delays=(1.0, longest))
    until = time.monotonic() + longest
    away = None
    while time.monotonic() < until:
        moment = time.monotonic() + chance.uniform(2, 6)
        wait_for(lambda: time.monotonic() > moment)  # noqa: B023
        place = 1 if steady else chance.randrange(2)
        fleet.kill(workers[place])
        workers[place] = fleet.worker(CLOCK_SKEW=chance.choice(("30", "-30")))
        if away is None and time.monotonic() > until - longest / 2:
            away = _restart_broker(fleet, node)
    assert producer.wait(120) == 0
    fleet.wait_until_done(set(range(count)), seconds=longest + 60)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    # One that was still starting had no handler yet.
    assert {worker.wait(40) for worker in workers} <= {0, -signal.SIGTERM}, fleet.project.log()

    assert away is not None
    started = {n: line["at"] - line["due"] for n, line in _first_starts(fleet).items()}
    assert min(started.values()) >= EARLY
    _tell("started, those due before the broker was killed", _due_before(fleet, away[0], started))
    _tell("moved, all", _moved(fleet))
    _tell(f"started, all; the broker was away for {away[1] - away[0]:.1f} s", started)
    assert not steady or statistics.median(_due_before(fleet, away[0], started).values()) < 1
    fleet.check()


def _warm_up(fleet: Fleet, n: int) -> None:
    """Wait until delayed jobs are moved and run."""
    fleet.produce(1, first=n, delays=(0.1, 0.1))
    wait_for(lambda: n in fleet.numbers("end"), seconds=60, what="the first delayed job")


def _restart_broker(fleet: Fleet, node: Node) -> tuple[float, float]:
    """When it was killed, and when it was there again."""
    since = time.time()
    node("kill", "1")
    node("start", "1")
    back = time.time()
    fleet.away.append((since, back + 15))
    return since, back


def _first_starts(fleet: Fleet) -> dict[int, Line]:
    found: dict[int, Line] = {}
    for line in sorted(fleet.events("start"), key=lambda line: line["at"]):
        found.setdefault(line["n"], line)
    return found


def _due_before(fleet: Fleet, moment: float, late: dict[int, float]) -> dict[int, float]:
    return {n: late[n] for n, line in _first_starts(fleet).items() if line["due"] < moment}


def _moved(fleet: Fleet) -> dict[int, float]:
    """How much later than it was due each job came to its queue."""
    due = {n: line["due"] for n, line in _first_starts(fleet).items()}
    late: dict[int, float] = {}
    for message in fleet.broker.messages(fleet.topic):
        n, at = json.loads(message.value() or b"")["data"]["n"], message.timestamp()[1] / 1000
        late[n] = min(at - due[n], late.get(n, float("inf")))
    return late


def _tell(what: str, late: dict[int, float]) -> None:
    found = sorted(late.values())
    p50, p99 = statistics.median(found), found[int(len(found) * 0.99)]
    print(f"{what}: {len(found)}, earliest {found[0]:+.3f}, p50 {p50:.3f}, p99 {p99:.1f}, latest {found[-1]:.1f} s")  # noqa: T201


@pytest.fixture
def database() -> Iterator[tuple[str, Proxy]]:
    """A PostgreSQL of the test's own, reached through a proxy: its address there."""
    url = os.environ.get("POSTGRES_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
        pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")
    name = f"faults_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        port = connection.info.port
    proxy = Proxy(free_ports(1), port, seed())
    proxy.start()
    yield f"postgresql://lamplighter@127.0.0.1:{proxy.port}/{name}", proxy
    proxy.end()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_retries_flow_while_the_database_is_away(
    kafka: Broker, make_fleet: MakeFleet, database: tuple[str, Proxy]
) -> None:
    """Invariant: short retries need no database; what needs it stays unsettled until it is back, and is not lost."""
    url, proxy = database
    fleet = make_fleet(kafka, partitions=2, DB_CONNECTION="pgsql", DB_URL=url)
    fleet.project.artisan("kafka:topics", "--create")
    worker = fleet.worker("--backoff=1", "--tries=3")
    fleet.publish({"n": 0})
    wait_for(lambda: fleet.events("end"))

    proxy.end()
    fleet.publish(*({"n": n, "fail_until": 2} for n in range(1, 40)), maxTries=3)
    fleet.publish({"n": 100, "later": 1200}, {"n": 101, "fail_until": 9}, {"n": 102, "release": 1200}, maxTries=2)
    fleet.wait_until_done(set(range(40)), seconds=60)
    wait_for(lambda: fleet.starts(100) >= 1 and len([n for n in fleet.numbers("error") if n == 101]) == 2, seconds=30)
    moment = time.monotonic() + 4
    wait_for(lambda: time.monotonic() > moment)
    behind = fleet.broker.committed(fleet.group, fleet.topic) != fleet.broker.ends(fleet.topic)
    assert worker.poll() is None
    assert behind, "something was committed that could not be written down"

    proxy = Proxy(proxy.port, proxy.target, seed())
    proxy.start()
    fleet.wait_until_committed(seconds=60)
    failed = json.loads(fleet.project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    kept = json.loads(fleet.project.artisan("queue:delayed", "--json").stdout)["delayed_jobs"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0
    proxy.end()

    print(f"{len(failed)} failed, {len(kept)} kept for later")  # noqa: T201
    assert (len(failed), len([job for job in kept if job["can_cancel"]])) == (1, 1)
    assert fleet.starts(100) > 1
    assert (fleet.starts(101), fleet.starts(102)) == (2, 1)
