"""Brokers and lines that fail: fault tests 8, 19 and 20."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, POOLS, Fleet, seed
from tests.faults.mock import Mock
from tests.faults.proxy import Proxy
from tests.harness import Broker, Node, free_ports, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def _until_done(fleet: Fleet, numbers: set[int], *, seconds: float = 120) -> None:
    fleet.wait_until_done(numbers, seconds=seconds)
    fleet.wait_until_committed(seconds=60)
    for worker in fleet.workers:
        worker.send_signal(signal.SIGTERM)
    assert {worker.wait(40) for worker in fleet.workers} == {0}, fleet.project.log()


@pytest.mark.parametrize("pool", POOLS if LONG else ("solo",))
def test_a_broker_that_is_away_for_long(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: away longer than session and dispatch timeout: dispatch raises, polling lives, all is done after."""
    fleet = make_fleet(mock, pool=pool, partitions=2)
    away = 60.0 if LONG else 12.0
    fleet.project.configure(dispatch_timeout=4)
    producer = fleet.produce(400, rate=50, sleep=0.01)
    worker = fleet.worker()
    wait_for(lambda: len(fleet.events("end")) > 50)
    since = time.time()
    mock("down", 1)
    until = time.monotonic() + away
    wait_for(lambda: time.monotonic() > until, seconds=away + 10)
    still, told = worker.poll(), fleet.acknowledged()
    mock("up", 1)
    fleet.away.append((since, time.time() + 15))
    assert producer.wait(120) == 0

    assert still is None
    refused = (fleet.project.folder / "producer.log").read_text()
    assert "did not acknowledge" in refused or "acknowledged nothing" in refused
    print(f"[{pool}] away for {away:g} s; {len(told)} acknowledged until then, {refused.count(chr(10))} refused")  # noqa: T201
    _until_done(fleet, set(range(400)))
    fleet.check()


@pytest.mark.kafka
@pytest.mark.skipif(not LONG, reason="long: make faults")
def test_a_real_broker_that_is_away_for_ten_minutes(node: Node, make_fleet: MakeFleet) -> None:
    """Invariant: the same of a real broker, for ten minutes."""
    fleet = make_fleet(Broker(node.address), pool="thread")
    fleet.project.configure(dispatch_timeout=10)
    producer = fleet.produce(3000, rate=5, sleep=0.01)
    fleet.worker()
    wait_for(lambda: len(fleet.events("end")) > 50)
    since = time.time()
    node("kill", "1")
    until = time.monotonic() + 600
    wait_for(lambda: time.monotonic() > until, seconds=620)
    node("start", "1")
    fleet.away.append((since, time.time() + 15))
    back = time.monotonic()
    ended = len(fleet.events("end"))
    wait_for(lambda: len(fleet.events("end")) > ended, seconds=60)
    print(f"the first job {time.monotonic() - back:.1f} s after the broker was back")  # noqa: T201
    assert producer.wait(900) == 0
    assert _refusals(fleet) > 10
    _until_done(fleet, set(range(3000)))
    fleet.check()


@pytest.mark.kafka
def test_leaders_and_coordinator_of_three_nodes_are_killed(nodes: Node, make_fleet: MakeFleet) -> None:
    """Invariant: no acknowledged job is lost by any one node; with two down dispatch raises; then all is done."""
    fleet = make_fleet(Broker(nodes.address), pool="thread")
    fleet.project.configure(dispatch_timeout=6)
    producer = fleet.produce(100_000, rate=40, lanes=50)
    fleet.worker()
    wait_for(lambda: len(fleet.events("end")) > 50, seconds=60)
    for number in ("1", "2", "3"):  # each leads some of the partitions, one of them coordinates the group
        _with_one_down(fleet, nodes, number)

    since = time.time()
    for number in ("2", "3"):
        nodes("kill", number)
    before = _refusals(fleet)
    wait_for(lambda: _refusals(fleet) > before, seconds=40, what="a dispatch that raises")
    for number in ("2", "3"):
        nodes("start", number)
    fleet.away.append((since, time.time() + 20))
    back = len(fleet.acknowledged())
    wait_for(lambda: len(fleet.acknowledged()) > back + 40, seconds=60, what="dispatching again")
    fleet.stop_producing()
    assert producer.wait(60) == 0

    _until_done(fleet, set(fleet.acknowledged()))
    fleet.check()


def _with_one_down(fleet: Fleet, nodes: Node, number: str) -> None:
    since = time.time()
    ended = len(fleet.events("end"))
    nodes("kill", number)
    began = time.monotonic()
    wait_for(lambda: len(fleet.events("end")) > ended + 20, seconds=60, what="progress with two nodes")
    print(f"node {number} down: 20 jobs after {time.monotonic() - began:.1f} s")  # noqa: T201
    nodes("start", number)
    fleet.away.append((since, time.time() + 15))


def _refusals(fleet: Fleet) -> int:
    return (fleet.project.folder / "producer.log").read_text().count("\n")


@pytest.fixture
def line(tmp_path_factory: pytest.TempPathFactory, kafka: Broker) -> Iterator[tuple[Node, Proxy]]:
    """A broker that is reached through a proxy alone."""
    port = free_ports(8)
    chance = seed()
    proxy = Proxy(port + 5, port, chance)
    proxy.start()
    node = Node(
        tmp_path_factory.mktemp("kafka"), port, options=f"advertised.listeners=PLAINTEXT://127.0.0.1:{port + 5}"
    )
    yield node, proxy
    node("down")
    proxy.end()


@pytest.mark.kafka
def test_a_line_that_is_slow_breaks_and_is_cut(line: tuple[Node, Proxy], make_fleet: MakeFleet) -> None:
    """Invariant: 100 ± 50 ms, 5 % resets, and a silent cut of 20 s: nothing lost, nothing committed too early."""
    _, proxy = line
    fleet = make_fleet(Broker(f"127.0.0.1:{proxy.port}"), pool="thread")
    producer = fleet.produce(100_000, rate=30, lanes=50)
    fleet.worker()
    wait_for(lambda: len(fleet.events("end")) > 20, seconds=60)
    since = time.time()

    proxy.delay, proxy.jitter = 0.1, 0.05
    ended = len(fleet.events("end"))
    wait_for(lambda: len(fleet.events("end")) > ended + 30, seconds=60)
    proxy.resets = 0.05
    ended = len(fleet.events("end"))
    wait_for(lambda: len(fleet.events("end")) > ended + 20, seconds=90)
    proxy.resets = 0
    proxy.is_cut = True
    until = time.monotonic() + 20
    wait_for(lambda: time.monotonic() > until, seconds=25)
    proxy.is_cut = False
    back = time.monotonic()
    ended = len(fleet.events("end"))
    wait_for(lambda: len(fleet.events("end")) > ended, seconds=60)
    print(f"the first job {time.monotonic() - back:.1f} s after the cut")  # noqa: T201
    proxy.delay = proxy.jitter = 0
    fleet.away.append((since, time.time() + 15))
    fleet.stop_producing()
    assert producer.wait(60) == 0

    _until_done(fleet, set(fleet.acknowledged()))
    fleet.check()
