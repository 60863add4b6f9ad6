"""What dispatching puts on a queue."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lamplighter.config import Repository
from lamplighter.container import Container
from lamplighter.contracts import Delivery, Message
from lamplighter.errors import ConfigError, InvalidPayload, MessageTooLarge, QueueError, UnsupportedDelay
from lamplighter.events import Dispatcher as Events
from lamplighter.logging.context import job_fields
from lamplighter.queue.delivery import InHand
from lamplighter.queue.dispatching.dispatcher import UNSET, Dispatcher, Key
from lamplighter.queue.drivers.null import NullQueue
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import JobQueued
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import MAX_BYTES
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import Bench, ListDelivery, ListQueue


@dataclass(frozen=True)
class Letter(Job):
    """A job with everything."""

    name = "letter"
    tries = 3
    backoff = (1, 5, 30)
    timeout = 20
    queue = "letters"

    to: str = "you"

    def handle(self) -> None:
        """Nothing."""

    def key(self) -> str:
        """One line for each receiver."""
        return self.to


ran: list[Any] = []
told: list[dict[str, object]] = []


@dataclass(frozen=True)
class Leaving(Job):
    """Leaves its delivery to the test."""

    name = "leaving"

    def handle(self, delivery: Delivery) -> None:
        """Return."""
        ran.append(delivery)


@dataclass(frozen=True)
class Failing(Job):
    """Fails."""

    name = "failing"

    def handle(self, delivery: Delivery) -> None:
        """Raise."""
        ran.append(delivery.attempts)
        told.append(job_fields())
        raise RuntimeError("boom")

    def failed(self, error: BaseException) -> None:
        """Tell."""
        ran.append(str(error))


@pytest.fixture
def line() -> ListQueue:
    """The connection that jobs are put on."""
    return ListQueue()


@pytest.fixture
def events() -> Events:
    """Listeners."""
    return Events()


@pytest.fixture
def dispatcher(line: ListQueue, events: Events) -> Dispatcher:
    """A dispatcher onto the line; there is a sync connection, too."""
    connections = {
        "line": {"driver": "line"},
        "sync": {"driver": "sync"},
        "null": {"driver": "null"},
        "sqs": {"driver": "sqs"},
    }
    manager = QueueManager(Repository({"queue": {"default": "line", "connections": connections}}))
    container = Container()
    registry = Registry(container)
    registry.register(Failing, Leaving, Letter)
    runner = Runner(registry, container, Policy(tries=1, backoff=(), timeout=0))
    manager.extend("line", lambda name, options: line)
    manager.extend("sync", lambda name, options: SyncQueue(name, runner))
    manager.extend("null", lambda name, options: NullQueue(name))
    return Dispatcher(manager, events, lambda: registry)


def test_a_job_travels_with_its_policy_and_its_fields(dispatcher: Dispatcher, line: ListQueue) -> None:
    id = dispatcher.dispatch(Letter("me"))

    payload = json.loads(line.line[0].payload)
    assert (payload["job"], payload["data"], payload["maxTries"]) == ("letter", {"to": "me"}, 3)
    assert (payload["backoff"], payload["timeout"], payload["attempts"]) == ("1,5,30", 20, 0)
    assert (line.line[0].key, payload["id"], id) == (b"me", "me", "me")


@pytest.mark.parametrize(("given", "key"), [("k", b"k"), (b"k", b"k"), (b"\xff", b"\xff"), (None, None)])
def test_a_key_that_is_given_wins(dispatcher: Dispatcher, line: ListQueue, given: Key, key: bytes | None) -> None:
    dispatcher.dispatch(Letter("me"), key=given)

    assert line.line[0].key == key


@pytest.mark.parametrize("key", ["k", b"k"])
def test_a_key_is_the_id_unless_it_is_longer_than_any_id(dispatcher: Dispatcher, line: ListQueue, key: Any) -> None:
    ids = [dispatcher.push("x", {}, key=key * count) for count in (1, 1000, 1001)]

    assert [delivery.key for delivery in line.line] == [b"k", b"k" * 1000, b"k" * 1001]
    assert [json.loads(delivery.payload)["id"] for delivery in line.line] == ids
    assert ids[:2] == ["k", "k" * 1000]
    assert len(ids[2]) == 32


def test_without_a_key_the_new_id_is_the_key(dispatcher: Dispatcher, line: ListQueue) -> None:
    id = dispatcher.push("job.data.store", {"n": 1})

    assert line.line[0].key == id.encode()
    assert len(id) == 32


def test_many_are_pushed_at_once(dispatcher: Dispatcher, line: ListQueue) -> None:
    count = dispatcher.push_many([("a", {}, "1"), ("b", {}, None), ("c", {}, UNSET)])

    assert (count, [delivery.key is None for delivery in line.line]) == (3, [False, True, False])


def test_who_listens_hears_of_a_job_that_is_safe(dispatcher: Dispatcher, events: Events) -> None:
    heard: list[JobQueued] = []
    events.listen(JobQueued, heard.append)

    id = dispatcher.dispatch(Letter())

    assert [(event.connection, event.queue, event.id) for event in heard] == [("list", "letters", id)]


def test_a_job_on_the_sync_connection_runs_at_once_and_its_error_is_the_dispatchers(dispatcher: Dispatcher) -> None:
    ran.clear()

    with pytest.raises(RuntimeError, match="boom"):
        dispatcher.dispatch(Failing(), connection="sync")

    assert ran == [1, "boom"]


def test_the_null_connection_takes_everything(dispatcher: Dispatcher) -> None:
    assert dispatcher.dispatch(Letter(), connection="null") == "you"


def test_log_records_of_a_job_on_the_sync_connection_say_which_job_it_is(dispatcher: Dispatcher) -> None:
    told.clear()

    with pytest.raises(RuntimeError):
        dispatcher.dispatch(Failing(), connection="sync", key="k")

    assert told == [{"job": "failing", "id": "k", "attempt": 1, "position": "sync"}]
    assert job_fields() == {}


@pytest.mark.parametrize(
    ("name", "why"), [("nothing", "it has line, null, sqs, sync"), ("sqs", "not built here; there are")]
)
def test_a_connection_that_is_none_is_named(dispatcher: Dispatcher, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        dispatcher.dispatch(Letter(), connection=name)


# what no worker could read ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Unregistered(Job):
    """Nobody has registered it."""

    name = "unregistered"


Way = Callable[[Dispatcher, str], object]


@pytest.mark.parametrize("connection", ["line", "sync", "null"])
@pytest.mark.parametrize(
    "way",
    [
        lambda dispatcher, connection: dispatcher.dispatch(Letter(to=5), connection=connection),  # type: ignore[arg-type]
        lambda dispatcher, connection: dispatcher.dispatch(Unregistered(), connection=connection),
        lambda dispatcher, connection: dispatcher.later(60, Letter(to=5), connection=connection),  # type: ignore[arg-type]
        lambda dispatcher, connection: dispatcher.push("theirs", {"n": float("nan")}, connection=connection),
        lambda dispatcher, connection: dispatcher.push("letter", {"to": 5}, connection=connection),
        lambda dispatcher, connection: dispatcher.push_many([("theirs", object(), UNSET)], connection=connection),
    ],
    ids=["dispatch", "unregistered", "later", "push", "registered push", "push_many"],
)
def test_what_no_worker_could_read_is_refused_on_every_way_and_connection(
    dispatcher: Dispatcher, line: ListQueue, way: Way, connection: str
) -> None:
    ran.clear()

    with pytest.raises(InvalidPayload, match="was not dispatched"):
        way(dispatcher, connection)

    assert (ran, list(line.line)) == ([], [])


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [(float("inf"), InvalidPayload, "was not dispatched"), ("x" * MAX_BYTES, MessageTooLarge, "has a payload of")],
    ids=["unreadable", "too large"],
)
def test_what_came_before_a_refused_one_of_many_is_on_the_queue(
    dispatcher: Dispatcher, line: ListQueue, data: object, error: type[Exception], told: str
) -> None:
    jobs = [("a", 1, UNSET), ("b", 2, UNSET), ("c", data, UNSET), ("d", 4, UNSET)]

    with pytest.raises(error, match=rf"The string job 'c' {told}.*The 2 before it"):
        dispatcher.push_many(jobs)

    assert [json.loads(delivery.payload)["job"] for delivery in line.line] == ["a", "b"]


@pytest.mark.parametrize(
    "job", [Letter(), ("c", {}), ("c", {}, None, 1), "abc", None], ids=["a job", "a pair", "four", "a text", "None"]
)
def test_many_jobs_that_are_no_triples_are_refused_with_what_is_taken(
    dispatcher: Dispatcher, line: ListQueue, job: Any
) -> None:
    with pytest.raises(InvalidPayload, match=r"takes string jobs as \(name, data, key\).*The 1 before it"):
        dispatcher.push_many([("a", 1, UNSET), job])

    assert [json.loads(delivery.payload)["job"] for delivery in line.line] == ["a"]


def test_the_delivery_of_a_job_that_has_ended_where_it_was_dispatched_says_so(dispatcher: Dispatcher) -> None:
    ran.clear()
    dispatcher.dispatch(Leaving(), connection="sync")

    with pytest.raises(QueueError, match="has ended"):
        ran[0].release()


NO_DELAYS: list[Any] = [float("nan"), float("inf"), 10**400, -(10**400), 10**9000, "5", None, timedelta(seconds=5)]
NO_DELAYS += [datetime(2026, 1, 1, tzinfo=UTC), 5j, True, False, 9.3e18, 1e300, 10**299]


@pytest.mark.parametrize("name", ["\ud800", "a\udcff", b"letters", 5])
def test_a_name_that_no_driver_can_send_is_refused(dispatcher: Dispatcher, line: ListQueue, name: Any) -> None:
    ways: list[Callable[[], object]] = [
        lambda: dispatcher.dispatch(Letter(), queue=name),
        lambda: dispatcher.push("theirs", {}, queue=name),
        lambda: dispatcher.push_many([("theirs", {}, None)], queue=name),
    ]
    for way in ways:
        with pytest.raises(QueueError, match="A queue is named by text"):
            way()

    assert list(line.line) == []


@pytest.mark.parametrize("delay", NO_DELAYS, ids=[f"{type(one).__name__}{at}" for at, one in enumerate(NO_DELAYS)])
def test_a_delay_that_is_no_number_of_seconds_is_refused(dispatcher: Dispatcher, line: ListQueue, delay: Any) -> None:
    ways: list[Callable[[], object]] = [
        lambda: dispatcher.dispatch(Letter(), delay=delay),
        lambda: dispatcher.later(delay, Letter()),
        lambda: dispatcher.push("theirs", {}, delay=delay),
    ]
    for way in ways:
        with pytest.raises(UnsupportedDelay, match="A delay is a number of seconds"):
            way()
    with pytest.raises(ValueError, match="A delay is a number of seconds"):
        InHand(ListDelivery(b"", deque(), None), "id", 1).release(delay)

    assert list(line.line) == []


@pytest.mark.parametrize(("key", "why"), [(5, "of type int"), (0, "of type int"), ("\udfff", "surrogate")])
def test_a_key_that_can_not_be_written_is_refused(dispatcher: Dispatcher, line: ListQueue, key: Any, why: str) -> None:
    for way in (
        lambda: dispatcher.dispatch(Letter(), key=key),
        lambda: dispatcher.push("theirs", {}, key=key),
        lambda: dispatcher.push_many([("theirs", {}, key)]),
    ):
        with pytest.raises(InvalidPayload, match=rf"(Letter|theirs) was not dispatched: .*key.*{why}"):
            way()

    assert not line.line


@pytest.mark.parametrize("key", ["", b""])
def test_an_empty_key_is_no_id(dispatcher: Dispatcher, line: ListQueue, key: Key) -> None:
    id = dispatcher.push("theirs", {}, key=key)

    assert (len(id), line.line[0].key) == (32, b"")


class Parent(Job):
    """Dispatches what no worker could read."""

    name = "parent"

    def handle(self, dispatcher: Dispatcher) -> None:
        """Dispatch."""
        ran.append("parent")
        dispatcher.dispatch(Letter(to=5), connection="line")  # type: ignore[arg-type]


def test_a_job_that_dispatches_such_a_job_has_an_error_of_its_own(
    bench: Bench, dispatcher: Dispatcher, line: ListQueue
) -> None:
    ran.clear()
    bench.container.instance(Dispatcher, dispatcher)
    delivery = bench.queue.add("parent", maxTries=2)

    bench.worker(Parent).work()

    assert ran == ["parent", "parent"]
    assert delivery.settled == [("release", 0.0, True), ("fail", "InvalidPayload")]
    assert not line.line


def test_headers_that_can_be_read_once_arrive(
    dispatcher: Dispatcher, line: ListQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Message] = []
    monkeypatch.setattr(line, "push", lambda message, **options: pushed.append(message))

    dispatcher.push("letter", {}, headers=((name, b"1") for name in "ab"))  # type: ignore[arg-type]

    assert list(pushed[0].headers) == [("a", b"1"), ("b", b"1")]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (("\udc80", b"1"), "surrogate"),
        (("a\0b", b"1"), "NULs"),
        ((b"name", b"1"), "text"),
        (("name", "\udc80"), "type str"),
        (("name", 1), "type int"),
        (("name",), "is a name with a value"),
        ("ab", "is a name with a value"),
    ],
)
def test_a_header_that_can_not_be_sent_is_refused(
    dispatcher: Dispatcher, line: ListQueue, header: Any, why: str
) -> None:
    with pytest.raises(InvalidPayload, match=why):
        dispatcher.push("letter", {}, headers=[("fine", None), header])

    assert not line.line
