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


def test_delayed_jobs_through_kills_of_workers_and_broker(node: Node, make_fleet: MakeFleet) -> None:
    """Invariant: through kill -9 of workers and broker, with clocks 30 s wrong, none runs early, none is lost."""
    chance = seed()
    count, longest = (1000, 60.0) if LONG else (150, 12.0)
    fleet = make_fleet(Broker(node.address))
    _with_clock(fleet)
    fleet.project.artisan("kafka:topics", "--create")
    workers = [fleet.worker(CLOCK_SKEW="30"), fleet.worker(CLOCK_SKEW="-30")]
    producer = fleet.produce(count, delays=(1.0, longest))
    until = time.monotonic() + longest
    harmed = False
    while time.monotonic() < until:
        moment = time.monotonic() + chance.uniform(2, 6)
        wait_for(lambda: time.monotonic() > moment)  # noqa: B023
        place = chance.randrange(2)
        fleet.kill(workers[place])
        workers[place] = fleet.worker(CLOCK_SKEW=chance.choice(("30", "-30")))
        if not harmed and time.monotonic() > until - longest / 2:
            harmed = True
            since = time.time()
            node("kill", "1")
            node("start", "1")
            fleet.away.append((since, time.time() + 15))
    assert producer.wait(120) == 0
    fleet.wait_until_done(set(range(count)), seconds=longest + 60)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    # 1 says that a commit was not taken in time, as behind a broker that has just come back: then jobs run again.
    assert {worker.wait(40) for worker in workers} <= {0, 1, -signal.SIGTERM}

    late = sorted(_lateness(fleet).values())
    p50, p99 = statistics.median(late), late[int(len(late) * 0.99)]
    print(f"{count} jobs: earliest {late[0]:+.3f} s, p50 {p50:.3f} s, p99 {p99:.1f} s, latest {late[-1]:.1f} s")  # noqa: T201
    assert late[0] >= EARLY
    fleet.check()


def _lateness(fleet: Fleet) -> dict[int, float]:
    found: dict[int, float] = {}
    for line in fleet.events("start"):
        late = line["at"] - line["due"]
        found[line["n"]] = min(late, found.get(line["n"], late))
    return found


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
