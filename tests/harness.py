"""A project in a temporary folder, its workers as real processes, and a ledger of what their jobs did."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from lamplighter.kafka.embedded.folder import BrokerFolder

ROOT = Path(__file__).parents[1]

PROBE_JOBS = '''
"""Jobs that write into a ledger what happens to them."""

import ctypes
import json
import os
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamplighter.contracts import Delivery
from lamplighter.queue.jobs.job import Job

LEDGER = Path(os.environ["LEDGER"])


def note(event: str, **fields: Any) -> None:
    line = json.dumps({"event": event, "pid": os.getpid(), "at": time.time(), **fields}) + "\\n"
    handle = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


@dataclass(frozen=True)
class Probe(Job):
    """Does what its data say."""

    name = "probe"

    n: int = 0
    sleep: float = 0
    fail_until: int = 0
    exit: int = -1
    release: float = -1
    swallow: float = 0
    lock: bool = False
    regex: bool = False
    query: bool = False
    wish: str = ""
    hook: float = 0

    def handle(self, delivery: Delivery) -> None:
        note("start", n=self.n, attempts=delivery.attempts, position=delivery.position)
        if self.exit >= 0:
            os._exit(self.exit)
        if self.lock:
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        if self.regex:
            ctypes.PyDLL(None).sleep(60)  # C code that keeps the GIL
        if self.query:  # C code that lets go of the GIL and looks at no signal
            count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
            sqlite3.connect(":memory:").execute(count).fetchall()
        if self.wish:
            getattr(delivery, self.wish)()
        until = time.monotonic() + self.swallow
        while time.monotonic() < until:
            try:
                time.sleep(0.05)
            except BaseException:
                continue
        if self.sleep:
            time.sleep(self.sleep)
        if self.release >= 0 and delivery.attempts == 1:
            delivery.release(self.release)
        if delivery.attempts <= self.fail_until:
            raise RuntimeError(f"boom {self.n}")
        note("end", n=self.n, attempts=delivery.attempts)

    def failed(self, error: BaseException) -> None:
        note("failed", n=self.n, error=type(error).__name__)
        time.sleep(self.hook)
'''


class Project:
    """A copy of the skeleton, with jobs of the test's in place of the application unless `jobs` is None.

    They are a module's text, or a folder that becomes `app`.
    """

    def __init__(self, folder: Path, *, environment: Mapping[str, str], jobs: str | Path | None = PROBE_JOBS) -> None:
        self.folder = folder
        for name in ("artisan.py", "bootstrap", "config", "database"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        # A killed worker's partitions move after three seconds instead of ten.
        self.configure(session_timeout=3)
        if jobs is None:
            shutil.copytree(ROOT / "app", folder / "app")
        else:
            self._replace_application(jobs)
        self.ledger = folder / "ledger.jsonl"
        self._processes: list[subprocess.Popen[str]] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "DB_", "CACHE_"))},
            "PYTHONPATH": str(ROOT),
            "APP_ENV": "testing",
            "LEDGER": str(self.ledger),
            "QUEUE_CONNECTION": "kafka",
            **environment,
        }

    def configure(self, **settings: object) -> None:
        """Set keys of the kafka connection."""
        with (self.folder / "config/kafka.py").open("a") as file:
            file.write(f'\nconfig["connections"]["kafka"].update({settings!r})\n')

    def provide(self, provider: str) -> None:
        """Add a service provider, `module:Class`, behind the framework's own."""
        bootstrap = self.folder / "bootstrap/app.py"
        last = '"lamplighter.kafka.provider:KafkaServiceProvider",\n'
        bootstrap.write_text(bootstrap.read_text().replace(last, f'{last}            "{provider}",\n'))

    def _replace_application(self, jobs: str | Path) -> None:
        folder = self.folder
        if isinstance(jobs, Path):
            shutil.copytree(jobs, folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "app/Jobs").mkdir(parents=True, exist_ok=True)
        for name in ("app", "app/Jobs"):
            (folder / name / "__init__.py").write_text('"""The application of a test."""\n')
        if isinstance(jobs, str):
            (folder / "app/Jobs/probe.py").write_text(jobs)
        bootstrap = folder / "bootstrap/app.py"
        lines = bootstrap.read_text().splitlines(keepends=True)
        bootstrap.write_text("".join(line for line in lines if "app.Providers" not in line))

    def artisan(self, *arguments: str, timeout: float = 60, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = self._run("artisan.py", *arguments, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def python(self, program: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program of a few lines in the project's folder, as somebody who dispatches would."""
        return self._run("-c", program, timeout=timeout)

    def _run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def worker(
        self,
        *options: str,
        log: str = "worker.log",
        program: str = "artisan.py",
        connection: str = "kafka",
        **environment: str,
    ) -> subprocess.Popen[str]:
        """Start `queue:work` with its output in a file; the project ends it if the test does not."""
        with (self.folder / log).open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", program, "queue:work", connection, *options],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._processes.append(process)
        return process

    def log(self, name: str = "worker.log") -> str:
        """What workers have written."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """The ledger's lines, of one kind or all."""
        if not self.ledger.exists():
            return []
        # A line that is being written at this moment is not whole yet.
        whole = self.ledger.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if event is None or line["event"] == event]

    def numbers(self, event: str) -> list[int]:
        """The jobs' numbers of one kind of event, in order."""
        return [line["n"] for line in self.events(event)]

    def close(self) -> None:
        """End what is still running, the embedded broker too."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        end_broker(self.folder / "storage/framework")


class Node:
    """A Kafka of the test's own, which it may kill, freeze and start again."""

    def __init__(self, folder: Path, port: int, *, nodes: int = 1, options: str = "") -> None:
        shared = os.environ.get("KAFKA_DIR")
        if shared:  # the jars are there already
            for jars in Path(shared).glob("jars-*"):
                (folder / jars.name).symlink_to(jars)
        own = {"KAFKA_DIR": str(folder), "KAFKA_PORT": str(port), "KAFKA_OPTIONS": options}
        self._environment = {**os.environ, **own}
        self.address = self("up", str(nodes)).strip()

    def __call__(self, *arguments: str) -> str:
        """Run scripts/kafka."""
        done = subprocess.run(
            [str(ROOT / "scripts/kafka"), *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def until_the_tests_end(program: Sequence[str]) -> list[str]:
    """A command whose process is killed when that of the tests ends, however it ends, where Linux can be asked for it.

    The main thread has to start it: it is killed at the end of the thread.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *program] if setpriv else [*program]


def free_ports(count: int = 3) -> int:
    """The first of some ports in a row that nobody uses now, below those that the system gives out."""
    for first in random.SystemRandom().sample(range(20000, 30000, 50), 100):
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


class Broker:
    """What tests do to a real Kafka from outside of the framework."""

    def __init__(self, address: str) -> None:
        self.address = address

    def topic(self, prefix: str = "test", *, partitions: int = 4, **config: str) -> str:
        """A new topic's name."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": self.address})
        for future in admin.create_topics([NewTopic(name, partitions, -1, config=config)]).values():
            future.result(20)
        return name

    def add_partitions(self, topic: str, total: int) -> None:
        """Let a topic have as many partitions."""
        admin = AdminClient({"bootstrap.servers": self.address})
        for future in admin.create_partitions([NewPartitions(topic, total)]).values():
            future.result(20)

    def alter(self, topic: str, key: str, value: str) -> None:
        """Change one setting of a topic."""
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.address})
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(20)

    def publish(self, topic: str, messages: list[tuple[bytes | None, bytes | None]], partition: int = -1) -> None:
        """Put (key, value) pairs onto a topic, as another program would."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 5, "partitioner": "murmur2_random"})
        for key, value in messages:
            producer.produce(topic, value, key, partition)
            producer.poll(0)
        assert producer.flush(30) == 0

    def jobs(
        self, topic: str, *data: dict[str, Any], name: str = "probe", partition: int = -1, **envelope: Any
    ) -> None:
        """Publish jobs as an older Laravel writes them, each under its number as key."""
        messages: list[tuple[bytes | None, bytes | None]] = []
        for fields in data:
            body = {"displayName": name, "job": name, "maxTries": None, "timeout": None, "data": fields}
            key = str(fields.get("n", 0))
            messages.append((key.encode(), json.dumps({**body, "id": key, "attempts": 0, **envelope}).encode()))
        self.publish(topic, messages, partition)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed offset of each partition that has one."""
        with self._consumer(group) as consumer:
            partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
            found = consumer.committed([TopicPartition(topic, number) for number in partitions], timeout=10)
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    def last_commit(self, group: str, topic: str, partition: int = 0) -> tuple[int, str | None]:
        """The committed offset of a partition, negative without one, and what stands beside it."""
        with self._consumer(group) as consumer:
            [found] = consumer.committed([TopicPartition(topic, partition)], timeout=10)
        return found.offset, found.metadata

    def ends(self, topic: str) -> dict[int, int]:
        """The end of each partition that is not empty."""
        with self._consumer("test-ends") as consumer:
            partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
            ends = {number: end_of(consumer, TopicPartition(topic, number)) for number in partitions}
        return {number: end for number, end in ends.items() if end}

    def read(self, topic: str) -> list[tuple[bytes | None, dict[str, Any]]]:
        """Every message of a topic, as (key, decoded value)."""
        return [(message.key(), json.loads(message.value() or b"null")) for message in self.messages(topic)]

    def messages(self, topic: str) -> list[Message]:
        """Every message of a topic."""
        ends = self.ends(topic)
        found: list[Message] = []
        with self._consumer(f"test-read-{uuid.uuid4().hex}") as consumer:
            consumer.assign([TopicPartition(topic, number, 0) for number in ends])
            left = sum(ends.values())
            deadline = time.monotonic() + 30
            while left > 0 and time.monotonic() < deadline:
                for message in consumer.consume(500, 0.2):
                    if message.error() is None:
                        left -= 1
                        found.append(message)
        return found

    @contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        )
        try:
            yield consumer
        finally:
            consumer.close()


def end_of(consumer: Consumer, place: TopicPartition) -> int:
    """The end of a partition, also of a broker that has just started and leads it in a moment."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, timeout=10)[1])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def end_broker(folder: Path) -> None:
    """End the embedded broker of a folder, if there is one: with records that nobody has read it would stay."""
    running = BrokerFolder(folder).running()
    if running is not None:
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
        wait_for(lambda: not lives(running.pid), what="the broker's end")


def lives(pid: int) -> bool:
    """Whether a process runs, whoever's child it is; one that has ended and that nobody has reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_of(process: psutil.Process) -> list[str]:
    """The words of a process's command; none of one that has just ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one of these
        return []


def wait_for(condition: Callable[[], object], *, seconds: float = 30, what: str = "it") -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM, *, seconds: float = 40) -> int:
    """Signal a process and wait for its end; its exit code."""
    process.send_signal(number)
    return process.wait(seconds)
