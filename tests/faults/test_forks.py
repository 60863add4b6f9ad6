"""Programs that fork when they have used everything: prefork pools, a preloading web server, forks at any moment."""

import http.client
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fleet import LONG, seed
from tests.harness import Broker, Project, free_ports, wait_for
from tests.programs import OUTCOME

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.kafka]

JOBS = 10_000 if LONG else 2_000
FORKS = 400 if LONG else 40
BOUND = 10.0  # seconds of one dispatch
STUCK = 30.0  # seconds of a child that does all of its work

BEGIN = (
    OUTCOME
    + """
import json, random
from bootstrap.app import create_app
application = create_app()
application.bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch
from lamplighter.queue.dispatching.dispatcher import Dispatcher

LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(**fields):
    os.write(LEDGER, (json.dumps({"pid": os.getpid(), **fields}) + "\\n").encode())

def push(n):
    began = time.monotonic()
    id = dispatch(Probe(n=n))
    note(event="pushed", n=n, id=id, took=time.monotonic() - began)
    return id

def push_many(*numbers):
    application.make(Dispatcher).push_many([("probe", {"n": n}, f"key-{n}") for n in numbers])
    for n in numbers:
        note(event="pushed", n=n, id=f"key-{n}", took=0)

def start(*works):
    ended = threading.Event()
    def go(work):
        while not ended.is_set():
            work()
    threads = [threading.Thread(target=go, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return lambda: (ended.set(), [thread.join(60) for thread in threads])
"""
)

# As Celery's prefork pool: the parent keeps so many children, and starts another when one has done its share.
PREFORK = """
import itertools
from concurrent.futures import ThreadPoolExecutor

jobs, processes, share, threads, bound = json.loads(sys.argv[1])
parents = itertools.count(1_000_000)
push(next(parents))
push_many(next(parents), next(parents))
stop = start(*[lambda: (push(next(parents)), time.sleep(0.02))] * 2)

def work(first):
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(push, range(first, first + share)))

alive, first, ends = {}, 0, []
while first < jobs or alive:
    while first < jobs and len(alive) < processes:
        child = os.fork()
        if child == 0:
            work(first)
            sys.exit(0)
        alive[child] = time.monotonic()
        first += share
    ended, status = os.waitpid(-1, os.WNOHANG)
    if ended:
        took, code = time.monotonic() - alive.pop(ended), os.waitstatus_to_exitcode(status)
        note(event="ended", child=ended, code=code, took=took)
    else:
        time.sleep(0.005)
        for child, began in alive.items():
            if time.monotonic() - began > bound:
                os.kill(child, signal.SIGABRT)  # it tells where it stands
stop()
"""

# What gunicorn loads before it forks: it has dispatched, and a thread of its own goes on dispatching.
WEB = """
push(-1)
push_many(-2, -3)
start(lambda: (push(-4), time.sleep(0.05)))

def serve(environ, start_response):
    n = int(environ["QUERY_STRING"])
    body = push(n).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""

# Threads of the parent do all that a program may do, and children are forked at any moment.
ANY_MOMENT = """
import logging
from sqlalchemy import text
from lamplighter.cache.manager import CacheManager
from lamplighter.database.manager import DatabaseManager
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.topics.topics import Topics
from lamplighter.contracts import Message
from lamplighter.queue.jobs.payload import new_id, write

number, forks, bound = json.loads(sys.argv[1])
chance = random.Random(number)
log = logging.getLogger("app")
manager = application.make(DatabaseManager)
files, memory = application.make(CacheManager).store("file"), application.make(CacheManager).store("array")
with manager.engine().begin() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS forks (who INTEGER)"))

def use_database(who):
    with manager.session() as session:
        session.execute(text("SELECT count(*) FROM forks")).scalar()
        session.execute(text("INSERT INTO forks VALUES (:who)"), {"who": who})
        session.commit()
    with manager.statements().connection() as connection:
        connection.execute(text("INSERT INTO forks VALUES (:who)"), {"who": who})
    note(event="stored", who=who)

def use_caches(who):
    for cache in (files, memory):
        cache.increment("count")
        cache.put(f"key-{who}", who)
        assert cache.get(f"key-{who}") == who
        with cache.lock(f"lock-{who}", 30):
            pass

def use_connections(n):
    connections = application.make(KafkaConnections)
    queue = connections.queue("kafka")
    id = new_id()
    queue.push(Message(write("probe", {"n": n}, id=id), id.encode()), queue=queue.default_queue)
    note(event="pushed", n=n, id=id, took=0)
    assert queue.close(timeout=10)
    assert Topics(connections.settings("kafka"), connections.client_config("kafka")).missing(["nowhere"]) == ["nowhere"]

def use_all(n):
    works = [push, lambda n: push_many(n, n + 1), use_database, use_caches, use_connections]
    chance.shuffle(works)
    for work in works:
        work(n)
    log.info("child %s", n)

def leave(how):
    if how == "raise":
        sys.excepthook = lambda *error: None
        raise RuntimeError("the child's own")
    (sys.exit if how == "exit" else os._exit)(0)

stop = start(
    lambda: (push(-1), time.sleep(0.002)),
    lambda: (push_many(-2, -3), time.sleep(0.005)),
    lambda: use_database(-1),
    lambda: use_caches(-1),
    lambda: use_connections(-4),
    lambda: (log.info("parent"), time.sleep(0.001)),
)
began = time.monotonic()
for n in range(forks):
    time.sleep(chance.random() * 0.02)
    how = chance.choice(["exit", "raise", "at once"])
    before = time.monotonic()
    child = os.fork()
    if child == 0:
        if chance.random() < 0.1:  # a child of a child does it
            grandchild = os.fork()
            if grandchild:
                code = outcome(grandchild, bound)
                os._exit(code if isinstance(code, int) else 99)
        use_all(n * 10)
        leave(how)
    took = time.monotonic() - before
    code = outcome(child, bound)
    note(event="ended", n=n, how=how, code=code, fork=took, took=time.monotonic() - before)
stop()
"""


@pytest.fixture
def topic(kafka: Broker) -> str:
    """A topic of the test's own."""
    return kafka.topic("forks", partitions=8)


@pytest.fixture
def project(tmp_path: Path, kafka: Broker, topic: str) -> Iterator[Project]:
    """A project whose programs dispatch to it."""
    environment = {
        "KAFKA_BROKERS": kafka.address,
        "KAFKA_QUEUE": topic,
        "CACHE_STORE": "file",
        "LOG_CHANNEL": "single",
        "DB_DATABASE": str(tmp_path / "database.sqlite"),
        "PYTHONFAULTHANDLER": "1",
    }
    project = Project(tmp_path, environment=environment)
    yield project
    project.close()


def started(project: Project, *command: str | Path) -> "subprocess.Popen[str]":
    """A program in the project's folder, with its output in a file."""
    with (project.folder / "program.log").open("a") as output:
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


def run(project: Project, program: str, *numbers: float, seconds: float) -> None:
    """Run a program to its end."""
    (project.folder / "program.py").write_text(BEGIN + program)
    process = started(project, "-W", "ignore::DeprecationWarning", "program.py", json.dumps(numbers))
    try:
        status = process.wait(seconds)
    finally:
        process.kill()
    assert status == 0, project.log("program.log")[-4000:]


def check_pushes(project: Project, kafka: Broker, topic: str) -> list[dict[str, Any]]:
    """Every acknowledged job is on the topic, once, and nothing else is; what was pushed."""
    pushed = project.events("pushed")
    there = Counter(body["id"] for _, body in kafka.read(topic))
    assert there == Counter(line["id"] for line in pushed)
    assert max(line["took"] for line in pushed) < BOUND
    return pushed


def told(name: str, ends: Sequence[dict[str, Any]], pushed: Sequence[dict[str, Any]], seconds: float) -> None:
    """What `docs/faults.md` tells."""
    slowest, child = max(line["took"] for line in pushed), max((line["took"] for line in ends), default=0.0)
    processes = len({line["pid"] for line in pushed})
    print(  # noqa: T201
        f"[{name}] {len(pushed):,} dispatches in {seconds:.0f} s from {processes} processes; the slowest dispatch took "
        f"{slowest:.2f} s, the slowest child {child:.1f} s"
    )


def test_a_prefork_pool_dispatches_from_every_child(project: Project, kafka: Broker, topic: str) -> None:
    """Invariant: each dispatch is acknowledged within 10 s and on the topic once, each child ends in order."""
    share, began = JOBS // 40, time.monotonic()

    run(project, PREFORK, JOBS, 4, share, 4, 120, seconds=900)

    ends, pushed = project.events("ended"), check_pushes(project, kafka, topic)
    assert [line["code"] for line in ends] == [0] * 40
    assert sorted(line["n"] for line in pushed if 0 <= line["n"] < 1_000_000) == list(range(JOBS))
    told("prefork", ends, pushed, time.monotonic() - began)


def test_a_preloading_web_server_with_threads_answers_every_request(
    project: Project, kafka: Broker, topic: str
) -> None:
    """Invariant: each request is answered within 12 s, and its job on the topic once, while children come and go."""
    (project.folder / "web.py").write_text(BEGIN + WEB)
    port, began = free_ports(1), time.monotonic()
    options = ["--preload", "--workers=4", "--threads=8", "--worker-class=gthread", f"--bind=127.0.0.1:{port}"]
    renewed = [f"--max-requests={JOBS // 16}", f"--max-requests-jitter={JOBS // 32}", "--timeout=30"]
    server = started(project, "-m", "gunicorn", *options, *renewed, "web:serve")
    try:
        wait_for(lambda: answer(port, 0), seconds=60, what="the server")
        with ThreadPoolExecutor(24) as clients:
            answers = list(clients.map(lambda n: answer_after_all(port, n), range(1, JOBS)))
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(60)

    pushed = check_pushes(project, kafka, topic)
    assert status == 0, project.log("program.log")[-4000:]
    assert {line["id"] for line in pushed} >= set(answers)
    assert Counter(line["n"] for line in pushed if line["n"] >= 0).keys() == set(range(JOBS))
    assert len({line["pid"] for line in pushed if line["n"] >= 0}) >= 8  # four at a time
    assert "WORKER TIMEOUT" not in project.log("program.log")
    told("gunicorn", [], pushed, time.monotonic() - began)


def answer(port: int, n: int) -> str:
    """The answer to a request; empty where the server does not listen, or hangs up before it has begun with it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND + 2)
    try:
        connection.request("GET", f"/?{n}")
        response = connection.getresponse()
        body = response.read().decode()
    except ConnectionError:
        return ""
    finally:
        connection.close()
    assert response.status == 200, body
    return body


def answer_after_all(port: int, n: int) -> str:
    """A worker that is renewed may hang up before it has read a request, which is sent again then."""
    for _ in range(20):
        body = answer(port, n)
        if body:
            return body
    raise AssertionError(f"request {n} was never answered")


def rows(project: Project) -> dict[int, int]:
    """How many rows there are of each."""
    connection = sqlite3.connect(project.environment["DB_DATABASE"])
    try:
        return dict(connection.execute("SELECT who, count(*) FROM forks GROUP BY who"))
    finally:
        connection.close()


def test_children_that_are_forked_at_any_moment_do_their_own_work(project: Project, kafka: Broker, topic: str) -> None:
    """Invariant: whatever the threads of the parent are doing, each child does all of its work, and ends in time."""
    number, began = seed().randrange(10**6), time.monotonic()

    run(project, ANY_MOMENT, number, FORKS, STUCK, seconds=60 + FORKS * 10)

    ends, pushed = project.events("ended"), check_pushes(project, kafka, topic)
    wrong = [line for line in ends if line["code"] != (1 if line["how"] == "raise" else 0)]
    assert wrong == [], project.log("program.log")[-4000:]
    assert {line["n"] for line in pushed} >= {n * 10 for n in range(FORKS)}
    stored = Counter(line["who"] for line in project.events("stored"))
    assert rows(project) == {who: 2 * times for who, times in stored.items()}  # by a session, and by a statement
    told("any moment", ends, pushed, time.monotonic() - began)
    print(f"the slowest fork took {max(line['fork'] for line in ends):.2f} s")  # noqa: T201
