"""What is there when a round is over: messages, failed jobs, delayed jobs, files, logs, processes."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.contracts import Headers
from lamplighter.database.rows import load_headers
from lamplighter.kafka.delays.delayed_message import unwrap
from lamplighter.kafka.partitions.headers import headers_of
from tests.faults.chaos.numbering import number_in
from tests.faults.chaos.scene import Scene

PATIENCE = 30.0  # seconds for reading one topic


@dataclass(frozen=True)
class Message:
    """A record of a topic; `n` is the job that it is, None where it is none of the round's."""

    position: str
    n: int | None
    key: bytes | None
    value: bytes
    headers: Headers
    at: float

    @property
    def partition(self) -> str:
        """`topic[partition]`."""
        return self.position.partition("@")[0]

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        return int(self.position.partition("@")[2])

    @property
    def attempts(self) -> int:
        """What its payload says, where that can be read."""
        try:
            return int(json.loads(self.value).get("attempts") or 0)
        except (ValueError, AttributeError, TypeError, RecursionError):
            return 0


@dataclass(frozen=True)
class Failed:
    """A failed job as it is kept, in the table or the topic."""

    place: str
    origin: str
    n: int | None
    key: bytes | None
    payload: bytes
    headers: Headers
    exception: str


@dataclass(frozen=True)
class LogLine:
    """A line of a worker's log; `entry` is empty where it is no JSON object."""

    worker: int
    text: str
    at: float = 0.0
    entry: Mapping[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """What is said."""
        return str(self.entry.get("message", ""))


@dataclass
class Left:
    """What was there when all was over.

    Attributes:
        messages: of the worked topics, by position.
        waiting: of the delay topics; all that ever waited there.
        rows: of the table of delayed jobs, as numbers of jobs.
        failed: the failed jobs.
        written: the numbers of jobs that have written their rows.
        ends, committed: the end of each partition, and what the group has committed of it, by `topic[partition]`.
        seen: when which partition was committed at which offset, with which metadata.
        claims: the names of the files in the folder of large payloads.
        logs: the lines of all workers.
        dispatcher: what the program that dispatches has said.
        alive: workers that ran when nothing disturbed any more, before they were told to end.
        processes: what still ran in the round's folder after the workers were to have ended.
    """

    messages: dict[str, Message] = field(default_factory=dict)
    waiting: list[Message] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    ends: Mapping[str, int] = field(default_factory=dict)
    committed: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, Sequence[tuple[float, int, str]]] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    logs: list[LogLine] = field(default_factory=list)
    dispatcher: str = ""
    alive: int = 0
    processes: tuple[str, ...] = ()

    def of(self, n: int) -> list[Message]:
        """The messages of a job in the worked topics, the oldest first."""
        return sorted((one for one in self.messages.values() if one.n == n), key=lambda one: one.at)

    def failures(self, position: str) -> list[Failed]:
        """The failed jobs that this message is."""
        return [one for one in self.failed if one.origin == position]


def collect(scene: Scene, *, alive: int) -> Left:
    """All of it, read without the framework's own commands."""
    address, setting = scene.broker.address, scene.round.setting
    messages = {one.position: one for topic in scene.topics for one in _read(address, topic)}
    ends, committed = _offsets(scene)
    return Left(
        messages=messages,
        waiting=_waiting(scene),
        rows=_delayed(scene),
        failed=[
            *(_table(scene) if setting.failed != "topic" else ()),
            *(_letters(address, scene.letters) if setting.failed != "table" else ()),
        ],
        written=[row["n"] for row in scene.database.rows("SELECT n FROM chaos_rows")],
        ends=ends,
        committed=committed,
        claims=frozenset(path.name for path in scene.claims.glob("*")) if scene.claims.is_dir() else frozenset(),
        logs=[line for worker in scene.history().workers.values() for line in _log(scene, worker.log, worker.pid)],
        dispatcher=scene.project.log("dispatcher.log"),
        alive=alive,
        processes=tuple(f"{process.pid} {' '.join(process.cmdline())}" for process in scene.processes()),
    )


def offsets(scene: Scene) -> tuple[dict[str, int], dict[str, int]]:
    """The end of each partition that is not empty, and what is committed of it."""
    return _offsets(scene)


def _offsets(scene: Scene) -> tuple[dict[str, int], dict[str, int]]:
    ends: dict[str, int] = {}
    committed: dict[str, int] = {}
    for topic in scene.topics:
        ends |= {f"{topic}[{number}]": end for number, end in scene.broker.ends(topic).items()}
        committed |= {f"{topic}[{number}]": at for number, at in scene.broker.committed(scene.group, topic).items()}
    return ends, committed


def _read(address: str, topic: str) -> list[Message]:
    """Every record of a topic, with its headers as far as Python's client can tell them."""
    settings = {
        "bootstrap.servers": address,
        "group.id": "chaos-read",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "log_level": 0,
    }
    found: list[Message] = []
    consumer = Consumer(settings)
    try:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        consumer.assign([TopicPartition(topic, number, 0) for number in metadata.partitions])
        left = len(metadata.partitions)
        while left:
            record = consumer.poll(PATIENCE)
            assert record is not None, f"{topic} can't be read"
            if record.error() is not None:
                left -= 1  # the end of a partition
            else:
                found.append(_message(record))
    finally:
        consumer.close()
    return found


def _message(record: KafkaMessage) -> Message:
    headers = headers_of(record)
    return Message(
        position=f"{record.topic()}[{record.partition()}]@{record.offset()}",
        n=number_in(record.value(), record.key(), headers),
        key=record.key(),
        value=record.value() or b"",
        headers=headers,
        at=record.timestamp()[1] / 1000,
    )


def _waiting(scene: Scene) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": scene.broker.address, "group.id": "chaos-read", "log_level": 0})
    try:
        names = [name for name in consumer.list_topics(timeout=10).topics if name.startswith(f"{scene.group}.delay.")]
    finally:
        consumer.close()
    return [one for name in names for one in _read(scene.broker.address, name) if one.n is not None]


def _delayed(scene: Scene) -> list[int]:
    rows = scene.database.rows("SELECT payload, key, headers FROM delayed_jobs")
    found = [number_in(bytes(row["payload"]), _bytes(row["key"]), load_headers(row["headers"])) for row in rows]
    return [n for n in found if n is not None]


def _table(scene: Scene) -> list[Failed]:
    found = []
    for row in scene.database.rows("SELECT * FROM failed_jobs"):
        payload = _bytes(row["payload_bytes"])
        payload = row["payload"].encode() if payload is None else payload
        key, headers = _bytes(row["key"]), load_headers(row["headers"])
        n = number_in(payload, key, headers)
        found.append(Failed("table", row["origin"], n, key, payload, headers, row["exception"]))
    return found


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _letters(address: str, topic: str) -> list[Failed]:
    """The letters that no mark has ended, by what docs/failed-jobs.md says of them."""
    letters: dict[tuple[str, str], list[tuple[Message, Mapping[str, str], Headers]]] = defaultdict(list)
    for message in sorted(_read(address, topic), key=lambda one: (one.partition, one.offset)):
        names = [name for name, _ in message.headers]
        if "x-failed-version" not in names:
            continue
        first = len(names) - 1 - names[::-1].index("x-failed-version")
        told = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers[first:]}
        settled = told.get("x-failed-settled")
        if settled is None:
            letters[message.partition, told["x-failed-identity"]].append((message, told, message.headers[:first]))
            continue
        until, place = int(told["x-failed-until"]), (message.partition, settled)
        letters[place] = [one for one in letters[place] if one[0].offset > until]
    # Several letters of one message are one failed job: the latest.
    return [_failed(*found[-1]) for found in letters.values() if found]


def _failed(message: Message, told: Mapping[str, str], headers: Headers) -> Failed:
    origin = f"{told['x-failed-topic']}[{told['x-failed-partition']}]@{told['x-failed-offset']}"
    n = number_in(message.value, message.key, headers)
    exception = told.get("x-failed-trace") or f"{told.get('x-failed-class')}: {told.get('x-failed-message')}"
    return Failed("topic", origin, n, message.key, message.value, headers, exception)


def _log(scene: Scene, name: str, worker: int) -> list[LogLine]:
    return [_line(text, worker) for text in Path(scene.project.folder / name).read_text(errors="replace").splitlines()]


def _line(text: str, worker: int) -> LogLine:
    try:
        entry = json.loads(text)
        at = datetime.fromisoformat(entry["timestamp"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return LogLine(worker, text)
    return LogLine(worker, text, at, entry)


def due_of(message: Message) -> float | None:
    """When a record of a delay topic is due; None where it does not say."""

    class Record:
        def headers(self) -> Any:
            return list(message.headers)

        def timestamp(self) -> tuple[int, int]:
            return 2, round(message.at * 1000)

        def value(self) -> bytes:
            return message.value

        def key(self) -> bytes | None:
            return message.key

    waiting = unwrap(Record())
    return None if waiting is None else waiting.due
