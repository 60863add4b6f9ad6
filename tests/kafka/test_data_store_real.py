"""The Data Store against a real Kafka: killed at every line, and with what it needs taken away."""

import json
import os
import random
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from sqlalchemy import create_engine, text

from tests.harness import Broker, Project, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EMPTY = ("--stop-when-empty", "--sleep=1", "--memory=0")

OUTAGE = float(os.environ.get("TEST_OUTAGE", "15"))  # seconds without a database

KILLER = '''
"""The console, dying by SIGKILL at the n-th passing of one line."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from app.Services.answers import Answers
from app.Services.rows import Rows
from bootstrap.app import create_app
from lamplighter.kafka.polling.committer import Committer
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.queue.worker.runner import Runner

PLACES = {
    "before the row": (Rows, "create", "before"),
    "after the row": (Rows, "create", "after"),
    "before the rows": (Rows, "create_many", "before"),
    "after the rows": (Rows, "create_many", "after"),
    "after the answer": (Answers, "found", "after"),
    "after the handler": (Runner, "run", "after"),
    "after the settlement": (KafkaDelivery, "delete", "after"),
    "before the commit": (Committer, "commit", "before"),
    "after the commit was sent": (Committer, "commit", "after"),
}
cls, name, when = PLACES[os.environ["KILL_AT"]]
left = int(os.environ["KILL_AFTER"])
original = getattr(cls, name)


def passing(*arguments, **keywords):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **keywords)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result


setattr(cls, name, passing)
sys.exit(create_app().run(sys.argv[1:]))
'''
PLACES = (
    "before the row",
    "after the row",
    "after the answer",
    "after the handler",
    "after the settlement",
    "before the commit",
    "after the commit was sent",
)


class Store:
    """A Data Store project with topics and a database of its own."""

    def __init__(self, folder: Path, kafka: Broker, database: dict[str, str]) -> None:
        self.kafka = kafka
        self.topic = kafka.topic("store")
        self.answers = kafka.topic("api")
        self.url = database.get("DB_URL") or f"sqlite:///{folder}/database.sqlite"
        self.project = Project(
            folder,
            environment={
                "KAFKA_BROKERS": kafka.address,
                "KAFKA_QUEUE": self.topic,
                "KAFKA_API_QUEUE": self.answers,
                "KAFKA_CONSUMER_GROUP_ID": self.topic,
                **(database or {"DB_DATABASE": str(folder / "database.sqlite")}),
            },
            jobs=None,
        )
        (folder / "killer.py").write_text(KILLER)
        self.project.artisan("migrate", "--force")

    def store_one_by_one(self) -> None:
        """Let each event be handled by itself."""
        with (self.project.folder / "app/Jobs/store_data.py").open("a") as file:
            file.write("\nStoreData.batch_size = 1\n")

    def publish(self, count: int, start: int = 0) -> None:
        """Put creates onto the topic, as the gateway does."""
        self.kafka.publish(
            self.topic,
            [
                (
                    b"row-%d" % number,
                    json.dumps(
                        {
                            "displayName": "job.data.store",
                            "job": "job.data.store",
                            "maxTries": None,
                            "timeout": None,
                            "data": {"type": "taxonomy", "values": {"name": f"Word {number}"}},
                            "id": f"row-{number}",
                            "attempts": 0,
                        }
                    ).encode(),
                )
                for number in range(start, start + count)
            ],
        )

    def ask(self, number: int, **data: Any) -> Message:
        """Put one event onto the topic, under a key of its own; the answer to it."""
        key = b"ask-%d" % number
        job = data.pop("job", "job.data.get")
        # As JSON's escapes, which alone can hold half of a surrogate pair.
        payload = json.dumps(
            {"displayName": job, "job": job, "maxTries": None, "timeout": None, "data": data, "id": "x"}
        )
        self.kafka.publish(self.topic, [(key, payload.encode())])
        wait_for(lambda: self.answered() > number, what=f"the answer to {key!r}")
        return next(message for message in self.kafka.messages(self.answers) if message.key() == key)

    def answered(self) -> int:
        """How many answers there are."""
        return sum(self.kafka.ends(self.answers).values())

    def is_committed(self) -> bool:
        """Whether nothing is left to do."""
        return self.kafka.committed(self.topic, self.topic) == self.kafka.ends(self.topic)

    def check(self, count: int) -> int:
        """One row and at least one answer for each key, all committed, nothing failed; the surplus of answers."""
        keys = Counter(key for key, _ in self.kafka.read(self.answers))
        engine = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            rows = [row.id for row in connection.execute(text("SELECT id FROM taxonomy"))]
            failed = connection.scalar(text("SELECT count(*) FROM failed_jobs"))
        engine.dispose()
        wanted = {f"row-{number}" for number in range(count)}
        assert failed == 0
        assert len(rows) == count
        assert set(rows) == wanted
        assert {key.decode() for key in keys if key} == wanted
        assert self.is_committed()
        return sum(keys.values()) - count


def postgres() -> dict[str, str]:
    """The environment of an empty PostgreSQL."""
    url = os.environ.get("POSTGRES_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
        pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return {"DB_CONNECTION": "pgsql", "DB_URL": url}


@pytest.fixture
def store(tmp_path: Path, kafka: Broker) -> Iterator[Store]:
    """A Data Store on SQLite."""
    store = Store(tmp_path, kafka, {})
    yield store
    store.project.close()


@pytest.fixture
def store_on_postgres(tmp_path: Path, kafka: Broker) -> Iterator[Store]:
    """A Data Store on PostgreSQL."""
    store = Store(tmp_path, kafka, postgres())
    yield store
    store.project.close()


@pytest.mark.any_version
def test_events_become_rows_and_answers(store: Store) -> None:
    store.publish(50)

    status = store.project.worker(*EMPTY).wait(60)

    assert status == 0, store.project.log()
    assert store.check(50) == 0


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_line_it_loses_nothing(store: Store, place: str) -> None:
    store.store_one_by_one()
    store.publish(40)

    first = store.project.worker(program="killer.py", KILL_AT=place, KILL_AFTER="2" if "commit" in place else "20")
    first_status = first.wait(60)
    second_status = store.project.worker(*EMPTY).wait(60)

    assert (first_status, second_status) == (-signal.SIGKILL, 0), store.project.log()
    surplus = store.check(40)
    assert surplus <= 40


@pytest.mark.parametrize(
    ("place", "passings"),
    [("before the rows", 1), ("after the rows", 1), ("after the answer", 20), ("after the handler", 1)],
)
def test_killed_in_a_call_of_many_it_loses_nothing(store: Store, place: str, passings: int) -> None:
    store.publish(40)

    first = store.project.worker(program="killer.py", KILL_AT=place, KILL_AFTER=str(passings))
    first_status = first.wait(60)
    second_status = store.project.worker(*EMPTY).wait(60)

    assert (first_status, second_status) == (-signal.SIGKILL, 0), store.project.log()
    surplus = store.check(40)
    assert surplus <= 40


@pytest.mark.any_version
def test_a_page_fills_a_message_and_the_next_one_goes_on(store: Store) -> None:
    # Some bytes more than a message holds: half of them would be half a page.
    texts = {f"row-{number:03}": "é" * (3000 + number) for number in range(164)}
    engine = create_engine(store.url)
    with engine.begin() as connection:
        insert = text("INSERT INTO costoption (id, option) VALUES (:id, :option)")
        connection.execute(insert, [{"id": id, "option": option} for id, option in texts.items()])
    engine.dispose()
    worker = store.project.worker("-q", "--memory=0")
    arrived: list[str] = []

    for number in range(2):
        after = {"after": arrived[-1]} if arrived else {}
        answer = store.ask(number, type="costoption", limit=500, **after)
        size = len(answer.value() or b"") + len(answer.key() or b"")
        rows = json.loads(answer.value() or b"")["data"]["data"]
        arrived += [row["id"] for row in rows]
        assert [row["option"] for row in rows] == [texts[row["id"]] for row in rows]
        assert size <= 1_000_000
        following = {"id": "row-000", "option": texts.get(f"row-{len(arrived):03}", ""), "type": "costoption"}
        row = json.dumps(following, ensure_ascii=False, separators=(",", ":")).encode()
        assert size + len(b",") + len(row) > 1_000_000 or len(arrived) == 164
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(40) == 0, store.project.log()
    assert arrived == sorted(texts)


@pytest.mark.any_version
def test_kafkas_own_frame_of_a_message_counts(store: Store) -> None:
    engine = create_engine(store.url)
    with engine.begin() as connection:
        insert = text("INSERT INTO costoption (id, option) VALUES ('a', :text), ('b', '')")
        connection.execute(insert, {"text": "x" * 500_000})
    worker = store.project.worker("-q", "--memory=0")
    answer = store.ask(0, type="costoption")
    size = len(answer.value() or b"") + len(answer.key() or b"")

    found = []
    for number, wanted in enumerate((999_964, 999_965, 1_000_000, 1_000_001), start=1):
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE costoption SET option = :text WHERE id = 'b'"), {"text": "x" * (wanted - size)}
            )
        answer = store.ask(number, type="costoption")
        found.append((len(json.loads(answer.value() or b"")["data"]["data"]), len(answer.value() or b"") + 5))
    worker.send_signal(signal.SIGTERM)
    engine.dispose()

    assert worker.wait(40) == 0, store.project.log()
    # Payload and key are what the connection counts; librdkafka counts the 36 bytes around them, too.
    assert found[0] == (2, 999_964)
    assert [rows for rows, _ in found[1:]] == [1, 1, 1]


@pytest.mark.any_version
def test_half_a_surrogate_pair_comes_back_as_its_escape(store: Store) -> None:
    store.publish(3)
    half = "\ud83d"
    asked = {"type": "taxonomy", "id": half, "note": {half: "é\\ud83d"}}
    worker = store.project.worker("-q", "--memory=0")
    wait_for(lambda: store.answered() == 3)

    page = store.ask(3, **asked)
    refused = store.ask(4, job="job.data.update", type="taxonomy", id=half, values={"name": half, "more": 2**70})
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(40) == 0, store.project.log()
    told = json.loads(page.value() or b"")["data"]
    assert (told["code"], told["query"], len(told["data"])) == (200, asked, 3)
    assert '"note":{"\\ud83d":"é\\\\ud83d"}'.encode() in (page.value() or b"")
    told = json.loads(refused.value() or b"")["data"]
    assert (told["code"], told["type"], told["id"]) == (422, "taxonomy", half)
    assert told["data"]["fields"] == {"name": half, "more": 2**70}


def storm(store: Store) -> None:
    """2,000 events, ten kills, each after a random number of answers."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    store.publish(2000)
    for _ in range(10):
        goal = store.answered() + chance.randint(50, 150)
        worker = store.project.worker("-q")
        # A fast worker may have done all of it before the next look.
        wait_for(
            lambda goal=goal: (found := store.answered()) >= goal or (found >= 2000 and store.is_committed()),  # type: ignore[misc]
            what="the next answers",
        )
        worker.kill()
        worker.wait(10)
    status = store.project.worker("-q", *EMPTY).wait(120)
    surplus = store.check(2000)

    assert status == 0
    # A commit interval is a second; what is finished within one, with room for a slow machine.
    assert surplus <= 10 * 1000


def test_ten_kills_on_sqlite_lose_nothing(store: Store) -> None:
    storm(store)


@pytest.mark.postgresql
def test_ten_kills_on_postgresql_lose_nothing(store_on_postgres: Store) -> None:
    storm(store_on_postgres)


@pytest.mark.postgresql
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_database_that_is_stopped_fails_nothing(store_on_postgres: Store, one_by_one: bool) -> None:
    control = os.environ.get("POSTGRES_TEST_CTL")
    if not control:
        pytest.skip("the PostgreSQL here can't be stopped: set POSTGRES_TEST_CTL to its pg_ctl -D ...")
    store = store_on_postgres
    if one_by_one:
        store.store_one_by_one()
    store.publish(200)
    worker = store.project.worker("-q", "--memory=0")
    wait_for(lambda: store.answered() >= 50)

    postgres_control(control, "stop", "-m", "fast")
    try:
        store.publish(200, start=200)
        time.sleep(OUTAGE)
    finally:
        postgres_control(control, "start", "-l", "/dev/null")
    wait_for(lambda: store.answered() >= 400, seconds=60)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(40) == 0, store.project.log()
    store.check(400)


def postgres_control(control: str, *arguments: str) -> None:
    """Stop or start the server."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run(
        [*prefix, *shlex.split(control), "-w", *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60
    )


def test_two_workers_share_sqlite_and_nothing_is_locked(store: Store) -> None:
    store.publish(1000)

    workers = [store.project.worker(*EMPTY, "-q", log=f"worker-{number}.log") for number in range(2)]
    statuses = [worker.wait(90) for worker in workers]

    assert statuses == [0, 0]
    assert "locked" not in store.project.log("worker-0.log") + store.project.log("worker-1.log")
    store.check(1000)
