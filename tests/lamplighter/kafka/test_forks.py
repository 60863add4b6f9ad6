"""Programs that have used Kafka and fork, on the embedded broker: web servers, prefork pools, daemons."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.kafka.delays.instance_ids import take_instance_id
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from tests.harness import ROOT, Broker, Project, wait_for
from tests.programs import OUTCOME, run

pytestmark = pytest.mark.long

BEGIN = (
    OUTCOME
    + """
import io, json
from bootstrap.app import create_app
application = create_app()
application.bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch
from lamplighter.queue.dispatching.dispatcher import Dispatcher

def push_many(*numbers):
    return application.make(Dispatcher).push_many([("probe", {"n": n}, "k") for n in numbers])
"""
)

PREFORK = """
from concurrent.futures import ThreadPoolExecutor

def in_threads():
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: dispatch(Probe(n=n)), range(4)))

WAYS = {
    "dispatch": lambda: dispatch(Probe(n=1)),
    "push_many": lambda: push_many(1, 2),
    "threads": in_threads,
    "later": lambda: dispatch(Probe(n=1), delay=600),
    "nothing": lambda: None,
}

def leave(how):
    if how == "raise":
        sys.stderr = io.StringIO()
        raise RuntimeError("the child's own")
    (os._exit if how == "at once" else sys.exit)(0)

dispatch(Probe(n=0))
push_many(0, 0)
for n in range(5):  # children of one parent, one after the other
    for name, way in WAYS.items():
        for how in ("at once", "in order", "raise"):
            if n == 0 or (name, how) == ("dispatch", "in order"):
                child = os.fork()
                if child == 0:
                    way()
                    leave(how)
                print(name, how, outcome(child), flush=True)
dispatch(Probe(n=9))
"""

UNDER_WAY = """
from lamplighter.errors import ForkError

def rows():
    for n in range(40):
        if n == 20:
            global child
            child = os.fork()
        yield "probe", {"n": n}, None

child, told = -1, ""
try:
    count = application.make(Dispatcher).push_many(rows())
except ForkError as error:
    told = str(error)
if child == 0:
    dispatch(Probe(n=100))
    os._exit(0 if "is the parent's" in told else 1)
print(outcome(child), count)
"""

ORPHAN = """
dispatch(Probe(n=1))
ready, gone = os.pipe(), os.pipe()
if os.fork() == 0:
    os.close(gone[1])
    os.read(gone[0], 1)  # until the parent has ended
    dispatch(Probe(n=2))
    print("dispatched", flush=True)
    sys.exit()
"""

C_FORK = """
import ctypes

dispatch(Probe(n=1))
child = ctypes.PyDLL(None).fork()
if child == 0:
    dispatch(Probe(n=2))
    push_many(3)
    os._exit(0)
print(outcome(child))
dispatch(Probe(n=4))
"""

WORKER = """
dispatch(Probe(n=5))
child = os.fork()
if child == 0:
    sys.exit(application.run(["queue:work", "kafka", "--stop-when-empty", *sys.argv[1:]]))
print(outcome(child, 40), flush=True)
dispatch(Probe(n=6))
"""

READERS = """
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.monitoring.groups import GroupReader
from lamplighter.kafka.reading.replay import Replay
from lamplighter.kafka.topics.topics import Topics

connections = application.make(KafkaConnections)
settings, config = connections.settings("kafka"), connections.client_config("kafka")
push_many(*range(20))
topics, groups = Topics(settings, config), GroupReader(settings, config)

def look():
    return topics.missing(["store"]), sum(part.lag for part in groups.read(["store"]).partitions)

def rest():
    return sum(1 for record in records)

expected = look()
count, records = application.make(Replay).open()
next(records)
for way in (lambda: look() == expected, lambda: next(application.make(Replay).open()[1]), lambda: records.close() or 1):
    child = os.fork()
    if child == 0:
        way() or os._exit(7)
        sys.exit()
    print(outcome(child))
print(look() == expected, 1 + rest() == count)
groups.close()
"""

LETTERS = """
from lamplighter.kafka.deadletters import letter_index
from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.producing.partitioner import any_partition
from lamplighter.queue.failed import Failure

letter_index.IN_MEMORY = 1  # the letters are in a file, whose place the child shares
settings = KafkaSettings(brokers="embedded", dead_letter_topic="dead")
letters = DeadLetters("kafka", settings, address=lambda: sys.argv[1], partitioner=any_partition)

def record(n):
    payload = json.dumps({"job": "x", "pad": str(n) * 20_000}).encode()
    failure = Failure(connection="kafka", queue="store", payload=payload, error=RuntimeError("boom"), key=b"k",
        headers=[], origin=f"store[0]@{n}", timestamp_ms=5, uuid=f"u{n}", attempts=1)
    letters.record(failure)

for n in range(5):
    record(n)

def is_whole():
    jobs = {job.id: json.loads(job.payload)["pad"] for job in letters.all()}
    return all(pad == id[1:] * 20_000 for id, pad in jobs.items()) and len(jobs)

before = is_whole()
child = os.fork()
found = [letters.find(f"u{n % 5}").payload[-5:-2] == str(n % 5).encode() * 3 for n in range(200)]
if child == 0:
    record(7)
    all(found) and is_whole() == 6 or os._exit(7)
    sys.exit()
print(before, all(found), outcome(child), is_whole())
"""

NAME = """
from pathlib import Path
from lamplighter.kafka.delays.instance_ids import take_instance_id

name = take_instance_id(Path(sys.argv[1]), "group")
print(name.text, flush=True)
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project on a broker of its own."""
    folder = tmp_path_factory.mktemp("forks")
    project = Project(folder, environment={"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(folder / "db.sqlite")})
    yield project
    project.close()


@pytest.fixture
def queue(project: Project, request: pytest.FixtureRequest) -> str:
    """A topic of the test's own, to which its programs dispatch."""
    name = f"forks-{abs(hash(request.node.name))}"
    project.environment["KAFKA_QUEUE"] = name
    return name


def program(project: Project, text: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    return run(BEGIN + text, *arguments, options=options, folder=project.folder, environment=project.environment)


def count(project: Project, topic: str) -> int:
    """How many messages there are."""
    return sum(broker_of(project).ends(topic).values())


def broker_of(project: Project) -> Broker:
    said = run(
        BEGIN + "from lamplighter.kafka.connections import KafkaConnections\n"
        "print(application.make(KafkaConnections).client_config('kafka')['bootstrap.servers'])",
        folder=project.folder,
        environment=project.environment,
    )
    return Broker(said.strip())


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="plain"),
        pytest.param(("-X", "dev", "-W", "ignore::DeprecationWarning"), id="dev", marks=pytest.mark.slow),
    ],
)
def test_children_of_a_program_that_has_dispatched_dispatch_and_end(
    project: Project, queue: str, options: tuple[str, ...]
) -> None:
    said = program(project, PREFORK, options=options)

    ends = [line.rsplit(" ", 1) for line in said.splitlines()]
    assert len(ends) == 19
    assert [end for end in ends if end[1] != ("1" if end[0].endswith("raise") else "0")] == []
    # 0 to 2 and 9 of the parent; 1, 2 and 4 of each child, three times, and four more.
    assert count(project, queue) == 4 + 3 * (1 + 2 + 4) + 4


def test_a_push_that_was_under_way_goes_on_in_the_parent_alone(project: Project, queue: str) -> None:
    said = program(project, UNDER_WAY)

    assert said == "0 40\n"
    assert count(project, queue) == 41


def test_a_child_dispatches_when_its_parent_has_ended(project: Project, queue: str) -> None:
    said = program(project, ORPHAN)  # its output ends with the child

    assert said == "dispatched\n"
    assert count(project, queue) == 2


def test_a_fork_that_python_was_not_told_of_does_no_harm(project: Project, queue: str) -> None:
    said = program(project, C_FORK)

    uuids = [body["uuid"] for _, body in broker_of(project).read(queue)]
    assert said == "0\n"
    assert len(uuids) == len(set(uuids)) == 4


@pytest.mark.parametrize("pool", ["solo", "process"])
def test_a_worker_runs_in_a_child_of_a_program_that_has_dispatched(project: Project, queue: str, pool: str) -> None:
    said = program(project, WORKER, f"--pool={pool}")

    assert said.splitlines()[-1] == "0"
    assert [line["n"] for line in project.events("end")][-1] == 5
    assert count(project, queue) == 2


def test_who_reads_topics_and_groups_does_so_in_a_child_too(project: Project) -> None:
    project.environment["KAFKA_QUEUE"] = "store"

    assert program(project, READERS) == "0\n0\n0\nTrue True\n"


def test_a_child_reads_and_writes_dead_letters_and_its_parents_stay_whole(broker: EmbeddedBroker) -> None:
    said = run("import json\n" + LETTERS, broker.address())

    assert said == "5 True 0 6\n"


def is_free(folder: Path, text: str) -> bool:
    """Whether the first free name is this one."""
    name = take_instance_id(folder, "group")
    assert name is not None
    name.release()
    return name.text == text


def test_a_name_of_a_mover_that_was_killed_is_free_though_its_child_lives(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", OUTCOME + NAME, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    text = parent.stdout.readline().strip()

    parent.kill()
    parent.wait(10)
    # The child may get its first turn only now.
    wait_for(lambda: is_free(tmp_path, text), seconds=10, what="the name is free")
    parent.stdin.close()  # the child ends
    assert parent.stdout.read() == ""
    parent.stdout.close()
