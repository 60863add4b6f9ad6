"""What every measurement needs: a broker, topics, a project with no-op jobs, and processes that are watched."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from benchmarks.stamps import Stamps

ROOT = Path(__file__).parents[1]
PARTITIONS = 4
BYTES = 300

JOBS = '''"""Jobs that only leave a stamp."""

from dataclasses import dataclass

from benchmarks.stamps import Stamps
from lamplighter.queue.job import Job

stamps = Stamps()


class Noop(Job):
    """Does nothing."""

    name = "bench.noop"

    def handle(self) -> None:
        """Leave a stamp."""
        stamps.stamp()


@dataclass(frozen=True)
class Timed(Job):
    """Tells when it started."""

    name = "bench.timed"

    number: int

    def handle(self) -> None:
        """Leave a stamp."""
        stamps.stamp_number(self.number)
'''


@dataclass
class Ended:
    """A process that has ended: its CPU seconds, and samples of (jobs done, resident bytes)."""

    status: int
    cpu: float
    samples: list[tuple[float, int]] = field(default_factory=list)


class Bench:
    """One run's folder, broker and stamps."""

    def __init__(self, folder: Path, brokers: str) -> None:
        self.folder = folder
        self.brokers = brokers
        self.stamps_file = folder / "stamps"
        self.stamps = Stamps(self.stamps_file)
        self._project("noop", jobs=JOBS)
        self._project("store", jobs=None)

    def topic(self, name: str) -> str:
        """A new topic."""
        topic = f"bench-{name}-{uuid.uuid4().hex[:6]}"
        admin = AdminClient({"bootstrap.servers": self.brokers})
        for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
            future.result(30)
        return topic

    def fill(self, topic: str, payloads: Iterator[tuple[bytes, bytes]]) -> None:
        """Put (key, payload) pairs onto a topic."""
        producer = Producer(
            {"bootstrap.servers": self.brokers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
        )
        for key, payload in payloads:
            producer.produce(topic, payload, key)
            producer.poll(0)
        assert producer.flush(60) == 0

    def environment(self, topic: str, group: str, **more: str) -> dict[str, str]:
        """What a worker's process is told."""
        return {
            **os.environ,
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

    def worker(self, topic: str, group: str, *options: str, project: str = "noop", **more: str) -> "Process":
        """Start `queue:work kafka` with its output in a file."""
        command = [sys.executable, "artisan.py", "queue:work", "kafka", "--memory=0", *options]
        return Process(command, self.folder / project, self.environment(topic, group, **more), self.folder / "out.log")

    def bare(self, topic: str, group: str, count: int, *, imports: bool = False) -> "Process":
        """Start the bare loop; with `imports` it has imported all that the worker has."""
        command = [sys.executable, "-m", "benchmarks.bare_loop", self.brokers, topic, group, str(count)]
        more = {"BARE_IMPORTS": "1"} if imports else {}
        return Process(command, self.folder / "noop", self.environment(topic, group, **more), self.folder / "out.log")

    def python(self, *command: str, topic: str, **more: str) -> "Process":
        """Start another program."""
        return Process(
            [sys.executable, *command], ROOT, self.environment(topic, topic, **more), self.folder / "out.log"
        )

    def artisan(self, project: str, *command: str, **more: str) -> Ended:
        """Run a command to its end."""
        environment = self.environment("bench", "bench", **more)
        arguments = [sys.executable, "artisan.py", *command]
        return Process(arguments, self.folder / project, environment, self.folder / "artisan.log").wait(60)

    def span(self, topic: str) -> tuple[int, float]:
        """How many messages a topic has, and the seconds between the first and the last."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "bench-span", "enable.auto.commit": False})
        numbers = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in numbers}
        consumer.assign([TopicPartition(topic, n, 0) for n in numbers])
        stamps: list[int] = []
        deadline = time.monotonic() + 60
        while len(stamps) < sum(ends.values()) and time.monotonic() < deadline:
            stamps += [message.timestamp()[1] for message in consumer.consume(500, 0.2) if message.error() is None]
        consumer.close()
        return len(stamps), (max(stamps) - min(stamps)) / 1000

    def _project(self, name: str, *, jobs: str | None) -> None:
        folder = self.folder / name
        folder.mkdir()
        for part in ("artisan.py", "bootstrap", "config", "database"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        if jobs is None:
            shutil.copytree(ROOT / "app", folder / "app")
            return
        (folder / "app/Jobs").mkdir(parents=True)
        (folder / "app/__init__.py").write_text("")
        (folder / "app/Jobs/__init__.py").write_text("")
        (folder / "app/Jobs/noop.py").write_text(jobs)
        bootstrap = folder / "bootstrap/app.py"
        lines = bootstrap.read_text().splitlines(keepends=True)
        bootstrap.write_text("".join(line for line in lines if "app.Providers" not in line))


class Process:
    """A process whose memory and CPU are watched from outside."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str], output: Path) -> None:
        self.began = time.monotonic()
        with output.open("w") as file:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self._output = output

    def wait(self, seconds: float, *, stamps: Stamps | None = None) -> Ended:
        """Wait for its end, sampling its memory where `stamps` tell how far it is."""
        samples: list[tuple[float, int]] = []
        until = time.monotonic() + seconds
        watched = psutil.Process(self._process.pid)
        while True:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                break
            if stamps is not None:
                samples.append((stamps.get(2), watched.memory_info().rss))
            if time.monotonic() > until:
                self._process.kill()
                raise SystemExit(f"not done after {seconds:g} s:\n{self._output.read_text()[-2000:]}")
            time.sleep(0.02)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        if code != 0:
            raise SystemExit(f"ended with {code}:\n{self._output.read_text()[-2000:]}")
        return Ended(code, usage.ru_utime + usage.ru_stime, samples)

    def stop(self) -> Ended:
        """Let it end."""
        self._process.terminate()
        return self.wait(40)


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


def noops(count: int) -> Iterator[tuple[bytes, bytes]]:
    """So many no-op jobs."""
    for number in range(count):
        yield b"%d" % number, payload("bench.noop", {})
