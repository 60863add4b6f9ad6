"""What every measurement needs: a broker, topics, a project with no-op jobs, and a place for raw results."""

import json
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from os import environ
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from benchmarks.process import Ended, Process
from benchmarks.report import NotMeasured
from benchmarks.stamps import Stamps

ROOT = Path(__file__).resolve().parents[1]
PARTITIONS = 4
BYTES = 300
DRIVER = '"driver": "kafka",'
SWITCHES = '"ordering": env("KAFKA_ORDERING", "key"), "stall_after": env("KAFKA_STALL_AFTER", 60),'
MANY = "batch_size = 500"  # of the Data Store's creates

JOBS = '''"""Jobs that only leave a stamp."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.stamps import Stamps
from lamplighter.queue.jobs.job import Job

stamps = Stamps()


class Noop(Job):
    """Does nothing."""

    name = "bench.noop"

    def handle(self) -> None:
        """Leave a stamp."""
        stamps.stamp()


class Wait(Job):
    """Waits for a millisecond, as for an answer from elsewhere."""

    name = "bench.wait"

    def handle(self) -> None:
        """Leave a stamp, then wait."""
        stamps.stamp_beside_others()
        time.sleep(0.001)


class WaitAsync(Job):
    """The same, without holding up the loop."""

    name = "bench.wait_async"

    async def handle(self) -> None:
        """Leave a stamp, then wait."""
        stamps.stamp()
        await asyncio.sleep(0.001)


class Compute(Job):
    """Computes for a millisecond of CPU time."""

    name = "bench.compute"

    def handle(self) -> None:
        """Leave a stamp, then compute."""
        stamps.stamp()
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass


@dataclass(frozen=True)
class Sent(Job):
    """Tells how long it was on its way."""

    name = "bench.sent"

    at: float

    def handle(self) -> None:
        """Leave the time that it took."""
        stamps.stamp_latency(self.at)


@dataclass(frozen=True)
class Timed(Job):
    """Tells when it started."""

    name = "bench.timed"

    number: int

    def handle(self) -> None:
        """Leave a stamp."""
        stamps.stamp_number(self.number)


@dataclass(frozen=True)
class Four(Job):
    """Has four fields."""

    name = "bench.four"

    number: int
    text: str
    price: float
    parts: list[int]

    def handle(self) -> None:
        """Leave a stamp."""
        stamps.stamp()


@dataclass(frozen=True)
class FourWait(Job):
    """Has four fields, and waits for a millisecond."""

    name = "bench.four_wait"

    number: int
    text: str
    price: float
    parts: list[int]

    def handle(self) -> None:
        """Leave a stamp, then wait."""
        stamps.stamp_beside_others()
        time.sleep(0.001)
'''


class Bench:
    """One run's folder, broker, stamps and raw results."""

    def __init__(self, folder: Path, brokers: str, results: Path, *, replicas: int = 1) -> None:
        self.folder = folder
        self.brokers = brokers
        self.stamps_file = folder / "stamps"
        self.stamps = Stamps(self.stamps_file)
        self._results = results
        self._replicas = replicas
        self._topics: list[str] = []
        self._project("noop", jobs=JOBS)
        self._project("store", jobs=None)
        self._project("single", jobs=None)
        job = folder / "single/app/Jobs/store_data.py"
        text = job.read_text()
        assert text.count(MANY) == 1
        job.write_text(text.replace(MANY, "batch_size = 1"))

    def record(self, measurement: str, **values: object) -> None:
        """Add one raw result, a JSON object a line."""
        line = json.dumps({"at": time.time(), "measurement": measurement, **values})
        with self._results.open("a") as file:
            file.write(line + "\n")

    # topics ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def topic(self, name: str, partitions: int = PARTITIONS) -> str:
        """A new topic; its name is also free as a group's."""
        topic = f"bench-{name}-{uuid.uuid4().hex[:6]}"
        admin = AdminClient({"bootstrap.servers": self.brokers})
        for future in admin.create_topics([NewTopic(topic, partitions, self._replicas)]).values():
            future.result(30)
        self._topics.append(topic)
        return topic

    def clean(self) -> None:
        """Delete the topics made so far; brokers that refuse keep them."""
        topics, self._topics = self._topics, []
        if not topics:
            return
        admin = AdminClient({"bootstrap.servers": self.brokers})
        for future in admin.delete_topics(topics).values():
            try:
                future.result(30)
            except KafkaException as error:
                print(f"A topic of the benchmark stays: {error}", file=sys.stderr)

    def fill(self, topic: str, payloads: Iterable[tuple[bytes, bytes]]) -> None:
        """Put (key, payload) pairs onto a topic, evenly over its partitions."""
        producer = Producer(
            {"bootstrap.servers": self.brokers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
        )
        partitions, until = 0, time.monotonic() + 10
        while not partitions and time.monotonic() < until:  # a broker may hear of a new topic a little later
            partitions = len(producer.list_topics(topic, timeout=10).topics[topic].partitions)
        for number, (key, payload) in enumerate(payloads):
            producer.produce(topic, payload, key, partition=number % partitions)
            if number % 100 == 0:
                producer.poll(0)
        if producer.flush(120) != 0:
            raise NotMeasured(f"the jobs could not be put onto {topic}")

    def span(self, topic: str) -> tuple[int, float]:
        """How many messages a topic has, and the seconds between the first and the last."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": topic, "enable.auto.commit": False})
        numbers = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in numbers}
        consumer.assign([TopicPartition(topic, n, 0) for n in numbers])
        stamps: list[int] = []
        deadline = time.monotonic() + 60
        while len(stamps) < sum(ends.values()) and time.monotonic() < deadline:
            stamps += [message.timestamp()[1] for message in consumer.consume(500, 0.2) if message.error() is None]
        consumer.close()
        return len(stamps), (max(stamps) - min(stamps)) / 1000

    # processes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def environment(self, topic: str, group: str, **more: str) -> dict[str, str]:
        """What a process is told; nothing of the caller's own application reaches it."""
        ours = ("APP_", "BEANSTALKD_", "DB_", "CACHE_", "KAFKA_", "LOG_", "QUEUE_", "REDIS_")
        return {
            **{name: value for name, value in environ.items() if not name.startswith(ours)},
            "PYTHONPATH": str(ROOT),
            "STAMPS": str(self.stamps_file),
            "APP_ENV": "benchmark",
            "LOG_LEVEL": "warning",
            "KAFKA_BROKERS": self.brokers,
            "KAFKA_QUEUE": topic,
            "KAFKA_CONSUMER_GROUP_ID": group,
            "CACHE_STORE": "file",
            **more,
        }

    def worker(
        self, topic: str, group: str, *options: str, project: str = "noop", connection: str = "kafka", **more: str
    ) -> Process:
        """Start `queue:work` with its output in a file."""
        command = [sys.executable, "artisan.py", "queue:work", connection, "--memory=0", *options]
        return Process(command, self.folder / project, self.environment(topic, group, **more), self.folder / "out.log")

    def bare(self, topic: str, group: str, count: int, *, imports: bool = False) -> Process:
        """Start the bare loop; with `imports` it has imported all that the worker has."""
        more = {"BARE_IMPORTS": "1"} if imports else {}
        command = [sys.executable, "-m", "benchmarks.bare_loop", self.brokers, topic, group, str(count)]
        return Process(command, self.folder / "noop", self.environment(topic, group, **more), self.folder / "out.log")

    def python(self, *command: str, topic: str, **more: str) -> Process:
        """Start another program."""
        return Process(
            [sys.executable, *command], ROOT, self.environment(topic, topic, **more), self.folder / "out.log"
        )

    def program(self, project: str, module: str, *arguments: str, topic: str, **more: str) -> Process:
        """Start a module as a program of a project, as one that dispatches would be."""
        command = [sys.executable, "-m", module, *arguments]
        environment = self.environment(topic, topic, QUEUE_CONNECTION="kafka", **more)
        return Process(command, self.folder / project, environment, self.folder / "out.log")

    def artisan(self, project: str, *command: str, **more: str) -> Ended:
        """Run a command to its end."""
        environment = self.environment("bench", "bench", **more)
        arguments = [sys.executable, "artisan.py", *command]
        return Process(arguments, self.folder / project, environment, self.folder / "artisan.log").wait(60)

    def _project(self, name: str, *, jobs: str | None) -> None:
        folder = self.folder / name
        folder.mkdir()
        for part in ("artisan.py", "bootstrap", "config", "database"):
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("*.sqlite*", "__pycache__"))
            else:
                shutil.copy(source, folder / part)
        if jobs is None:
            shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
            return
        (folder / "app/Jobs").mkdir(parents=True)
        (folder / "app/__init__.py").write_text("")
        (folder / "app/Jobs/__init__.py").write_text("")
        (folder / "app/Jobs/noop.py").write_text(jobs)
        settings = folder / "config/kafka.py"
        settings.write_text(settings.read_text().replace(DRIVER, f"{DRIVER} {SWITCHES}"))
        bootstrap = folder / "bootstrap/app.py"
        lines = bootstrap.read_text().splitlines(keepends=True)
        bootstrap.write_text("".join(line for line in lines if "app.Providers" not in line))


def payload(job: str, data: Any) -> bytes:
    """A Laravel string job of 300 bytes."""
    body = {
        "uuid": str(uuid.uuid4()),
        "displayName": job,
        "job": job,
        "maxTries": None,
        "maxExceptions": None,
        "failOnTimeout": False,
        "backoff": None,
        "timeout": None,
        "data": data,
        "createdAt": int(time.time()),
        "id": uuid.uuid4().hex,
        "attempts": 0,
        "delay": None,
    }
    text = json.dumps(body, separators=(",", ":"))
    return (text[:-1] + " " * max(0, BYTES - len(text)) + "}").encode()


def many(job: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    """So many jobs of a name, each under a key of its own."""
    for number in range(count):
        yield b"%d" % number, payload(job, {})


def fours(count: int) -> Iterator[tuple[bytes, bytes]]:
    """So many jobs with four fields, each with values of its own."""
    for number in range(count):
        yield b"%d" % number, payload("bench.four", four_fields(number))


def four_fields(number: int) -> dict[str, Any]:
    """The fields of the job of this number."""
    return {"number": number, "text": f"order {number}", "price": number / 4, "parts": [number, 1, 2]}


def noops(count: int) -> Iterator[tuple[bytes, bytes]]:
    """So many no-op jobs."""
    return many("bench.noop", count)
