"""Bytes as somebody else may have written them: valid, nearly valid, and any at all."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import confluent_kafka
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lamplighter.container import Container
from lamplighter.contracts import Headers, Message
from lamplighter.errors import PayloadError
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.failed import Failure
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner, Start
from tests.lamplighter.kafka.records import record_of

Test = TypeVar("Test", bound=Callable[..., None])

EXAMPLES = 5_000 if os.environ.get("FAULTS") == "long" else 20

ODD_TEXTS = ("", "\x00", "\ud800", "é", "-1", "1e400", "NaN", "9" * 400, "9" * 5_000, "\x1b[2J", "a b\n")
ODD_INTEGERS = (-1, 2**31, 2**53, 2**63, 2**64, 10**30, 10**400, 10**4_299)
ODD_JSON = (
    b"[" * 20_000,
    b'{"a":' * 5_000,
    b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b"1" * 5_000,
    b"NaN",
    b"\xef\xbb\xbf{}",
    b'{"job":"probe","data":' + b"[" * 511 + b"]" * 511 + b"}",
    b'{"job":"probe","id":' + b"1" * 5_000 + b"}",
    b'{"job":"\\ud800","displayName":"\\udc00","uuid":"\\ud800","id":"\\ud800"}',
)

texts = st.one_of(st.text(max_size=20), st.sampled_from(ODD_TEXTS))
integers = st.one_of(st.integers(-3, 3), st.integers(), st.sampled_from(ODD_INTEGERS))
scalars = st.one_of(st.none(), st.booleans(), integers, st.floats(), texts)
values: SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)


def as_json(value: object) -> bytes:
    """JSON as Python writes it, with NaN and halves of surrogate pairs."""
    return json.dumps(value).encode()


def fields(*, sure: dict[str, SearchStrategy[Any]], **maybe: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    """JSON objects that have these fields, and perhaps those; sometimes cut short."""
    whole = st.fixed_dictionaries(sure, optional=maybe).map(as_json)
    return st.one_of(whole, whole.flatmap(lambda data: st.integers(0, len(data)).map(lambda end: data[:end])))


any_bytes = st.one_of(st.binary(max_size=60), values.map(as_json), st.sampled_from(ODD_JSON))
payloads = st.one_of(
    any_bytes,
    fields(
        sure={"job": st.one_of(st.just("probe"), scalars)},
        data=values,
        uuid=scalars,
        id=scalars,
        displayName=scalars,
        attempts=scalars,
        maxTries=scalars,
        backoff=st.one_of(scalars, st.lists(scalars, max_size=3)),
        timeout=scalars,
    ),
)
keys = st.one_of(st.none(), st.binary(max_size=20))


def headers(*names: str, values: SearchStrategy[bytes]) -> SearchStrategy[list[tuple[str, bytes | None]]]:
    """Headers, some of them by these names and with these values."""
    name = st.one_of(st.sampled_from([*names, "trace"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
    return st.lists(st.tuples(name, st.one_of(st.none(), st.binary(max_size=20), values)), max_size=6)


def records(headers: SearchStrategy[list[tuple[str, bytes | None]]]) -> SearchStrategy[confluent_kafka.Message]:
    """Records of a topic with these headers, of any time."""
    messages = st.builds(Message, payloads, keys, headers)
    times = st.floats(-1e15, 1e15, allow_nan=False)
    return st.builds(lambda message, kind, at: record_of(message, kind=kind, at=at), messages, st.integers(0, 2), times)


def hostile(*strategies: SearchStrategy[Any]) -> Callable[[Test], Test]:
    """Run a test with many examples of these, and more of them where FAULTS is long."""

    def decorate(test: Test) -> Test:
        return settings(max_examples=EXAMPLES, deadline=None)(given(*strategies)(test))  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True)
class Probe(Job):
    """A job with fields of each kind."""

    name = "probe"

    n: int = 0
    text: str = ""
    share: float = 0
    parts: list[int] | None = None

    def handle(self) -> None:
        """Nothing to do."""


def runner() -> Runner:
    """One that knows the probe."""
    registry = Registry(Container())
    registry.register(Probe)
    return Runner(registry, Container(), Policy(tries=1, backoff=(), timeout=0))


def start_of(payload: bytes, key: bytes | None = None, headers: Headers = ()) -> tuple[Start, Exception]:
    """A start as far as its payload could be read, and the error that it ends with."""
    start = runner().start(SyncDelivery(Message(payload, key, headers), "kafka", "store"))
    try:
        runner().read(start)
    except PayloadError as error:
        return start, error
    return start, ValueError("half \ud800 of a pair")


def failure_of(start: Start, error: Exception) -> Failure:
    """What is told of its end."""
    delivery = start.delivery
    return Failure(
        connection="kafka",
        queue="store",
        payload=delivery.payload,
        error=error,
        uuid=start.uuid,
        key=delivery.key,
        headers=delivery.headers,
        origin="store[0]@7",
        timestamp_ms=7,
        attempts=start.attempts,
    )
