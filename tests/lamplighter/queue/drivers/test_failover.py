"""Pushes that go to the next connection when one does not answer."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, ClassVar

import pytest

from lamplighter.config import Repository
from lamplighter.container import Container
from lamplighter.contracts import Config, HeldJob, Message, Queue
from lamplighter.contracts import Events as EventsContract
from lamplighter.errors import ConfigError, MessageTooLarge, QueueError, Unavailable
from lamplighter.events import Dispatcher as Events
from lamplighter.logging.context import job_context
from lamplighter.queue.drivers.failover.breaker import CircuitBreaker
from lamplighter.queue.drivers.failover.connecting import connect
from lamplighter.queue.drivers.failover.queue import FailoverQueue
from lamplighter.queue.drivers.memory import connect as connect_memory
from lamplighter.queue.drivers.null import NullQueue
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import QueueFailedOver
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.parts import TOGETHER
from lamplighter.queue.worker.runner import Runner


class Kept(KeepsNoJobs):
    """A connection that keeps messages, or raises what the test says."""

    def __init__(self, connection: str, default_queue: str = "default", served_by: int = 0) -> None:
        self.connection = connection
        self.default_queue = default_queue
        self.served_by = served_by
        self.error: Exception | None = None
        self.calls = 0
        self.kept: list[tuple[str, bytes]] = []
        self.jobs: list[object] = []
        self.waiting: list[HeldJob] = []
        self.hold: Callable[[], object] = lambda: None

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Keep it, or raise."""
        self.bulk([message], queue=queue)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Keep them, or raise."""
        self.calls += 1
        self.jobs.append(job_context.get())
        self.hold()
        if self.error is not None:
            raise self.error
        came = [(queue, message.payload) for message in messages]
        self.kept += came
        return len(came)

    def hold_back(self, *waiting: HeldJob) -> None:
        """Have jobs that are due later, and be a connection that can tell of them."""
        self.waiting += waiting
        self.lacks: Mapping[str, str] = {}

    def held(self, *, most: int) -> Sequence[HeldJob]:
        """What is due later."""
        return self.waiting[:most]

    def cancel(self, id: str) -> int:
        """Take back, or raise what the test says."""
        if self.error is not None:
            raise self.error
        count = sum(job.id == id for job in self.waiting)
        self.waiting = [job for job in self.waiting if job.id != id]
        return count


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Bench:
    """Two connections and their failover."""

    def __init__(self) -> None:
        self.first, self.second = Kept("first"), Kept("second")
        self.clock = Clock()
        self.events = Events()
        self.told: list[QueueFailedOver] = []
        self.events.listen(QueueFailedOver, self.told.append)
        self.queue = self.failover(self.first, self.second)

    def failover(self, *queues: Queue) -> FailoverQueue:
        """A failover of these."""
        return FailoverQueue("failover", queues, self.events, [CircuitBreaker(10, self.clock) for _ in queues])

    def push(self, payload: bytes = b"job", queue: str = "default") -> None:
        """Push one."""
        self.queue.push(Message(payload), queue=queue)


@pytest.fixture
def bench() -> Bench:
    """Two connections and their failover."""
    return Bench()


def test_the_first_that_answers_takes_the_job_and_listeners_hear_who_did_not(bench: Bench) -> None:
    bench.first.error = Unavailable("away")

    bench.push()

    assert (bench.first.kept, bench.second.kept) == ([], [("default", b"job")])
    assert [(event.connection, event.failed, event.queue) for event in bench.told] == [("failover", "first", "default")]


def test_an_outage_costs_one_timeout_and_not_one_a_push(bench: Bench) -> None:
    bench.first.error = Unavailable("away")

    for _ in range(50):
        bench.push()

    assert (bench.first.calls, len(bench.second.kept), len(bench.told)) == (1, 50, 1)


def test_a_connection_that_is_back_takes_the_jobs_again(bench: Bench) -> None:
    bench.first.error = Unavailable("away")
    bench.push()
    bench.first.error = None
    bench.push()
    bench.clock.now = 10.0

    bench.push(b"back")
    bench.push(b"again")

    assert bench.first.kept == [("default", b"back"), ("default", b"again")]


def test_only_one_push_tries_a_connection_whose_time_is_over(bench: Bench) -> None:
    bench.first.error = Unavailable("away")
    bench.push()
    bench.clock.now = 10.0
    tries, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        tries.set()
        assert goes_on.wait(10)

    bench.first.hold = hold
    thread = threading.Thread(target=bench.push)
    thread.start()
    assert tries.wait(10)
    bench.push(b"beside it")
    goes_on.set()
    thread.join()

    assert bench.first.calls == 2
    assert bench.second.kept == [("default", b"job"), ("default", b"beside it"), ("default", b"job")]


def test_a_try_that_was_refused_for_the_message_leaves_the_connection_to_the_next_push(bench: Bench) -> None:
    bench.first.error = Unavailable("away")
    bench.push()
    bench.clock.now = 10.0
    bench.first.error = MessageTooLarge("too large")
    with pytest.raises(MessageTooLarge):
        bench.push()
    bench.first.error = None

    bench.push(b"small")

    assert bench.first.kept == [("default", b"small")]


def test_what_is_refused_for_what_it_is_goes_nowhere_else(bench: Bench) -> None:
    bench.first.error = MessageTooLarge("too large")

    for _ in range(2):
        with pytest.raises(MessageTooLarge):
            bench.push()

    assert (bench.first.calls, bench.second.calls, bench.told) == (2, 0, [])


@pytest.mark.parametrize("is_passed_over", [False, True])
def test_what_another_one_refuses_while_the_first_is_away_goes_on_to_the_next(
    bench: Bench, is_passed_over: bool
) -> None:
    third = Kept("third")
    bench.queue = bench.failover(bench.first, bench.second, third)
    bench.first.error = Unavailable("away")
    if is_passed_over:
        bench.push(b"before")
    bench.second.error = QueueError("carries no headers")

    bench.push()

    assert [payload for _, payload in third.kept] == [b"job"]


def test_a_job_that_only_the_first_could_take_is_not_refused_for_good_while_that_is_away(bench: Bench) -> None:
    bench.first.error, bench.second.error = Unavailable("away"), MessageTooLarge("65,535 bytes at most.")

    with pytest.raises(Unavailable, match=r"first: away; second: 65,535 bytes at most\."):
        bench.push()


def test_a_delayed_job_goes_to_no_other_connection_that_would_run_it_at_once(bench: Bench) -> None:
    bench.first.error = Unavailable("away")
    bench.queue.push(Message(b"now"), queue="default")

    with pytest.raises(Unavailable, match="second: It holds no job back"):
        bench.queue.push(Message(b"later"), queue="default", delay=60)

    assert bench.second.kept == [("default", b"now")]


def test_a_connection_that_is_the_first_takes_delays_as_it_does_by_itself(bench: Bench) -> None:
    bench.queue.push(Message(b"later"), queue="default", delay=60)

    assert bench.first.kept == [("default", b"later")]


def test_where_none_answers_each_is_named_with_its_reason(bench: Bench) -> None:
    bench.first.error, bench.second.error = Unavailable("no route"), Unavailable("refused")

    with pytest.raises(Unavailable, match=r"'failover' takes the job\. first: no route; second: refused\."):
        bench.push()


def test_no_push_is_refused_before_each_connection_was_asked(bench: Bench) -> None:
    bench.first.error = bench.second.error = Unavailable("away")
    with pytest.raises(Unavailable):
        bench.push()
    bench.first.error = None

    bench.push(b"back at once")

    assert bench.first.kept == [("default", b"back at once")]


def test_the_own_queue_of_the_first_stands_for_the_own_queue_of_each(bench: Bench) -> None:
    bench.queue = bench.failover(Kept("kafka", "store"), bench.second)
    bench.queue.first.error = Unavailable("away")  # type: ignore[attr-defined]

    bench.push(b"own", queue=bench.queue.default_queue)
    bench.push(b"named", queue="letters")

    assert bench.second.kept == [("default", b"own"), ("letters", b"named")]


def test_each_part_of_a_bulk_goes_to_the_first_that_answers_and_none_is_lost(bench: Bench) -> None:
    def messages() -> Iterator[Message]:
        for number in range(2 * TOGETHER + 7):
            if number == TOGETHER + 3:
                bench.first.error = Unavailable("away")
            yield Message(b"%d" % number)

    count = bench.queue.bulk(messages(), queue="default")

    kept = [int(payload) for _, payload in bench.first.kept + bench.second.kept]
    assert (count, kept) == (2 * TOGETHER + 7, list(range(2 * TOGETHER + 7)))
    assert len(bench.first.kept) == TOGETHER
    assert bench.first.calls == 2


def test_what_came_before_the_error_of_a_bulk_is_on_a_queue(bench: Bench) -> None:
    def messages() -> Iterator[Message]:
        yield Message(b"one")
        raise LookupError("no further one")

    with pytest.raises(LookupError) as raised:
        bench.queue.bulk(messages(), queue="default")

    assert bench.first.kept == [("default", b"one")]
    assert raised.value.__notes__ == ["The 1 messages before it are on the queue."]


def test_a_bulk_that_nobody_takes_says_how_many_are_on_the_queue(bench: Bench) -> None:
    def messages() -> Iterator[Message]:
        for number in range(2 * TOGETHER):
            if number == TOGETHER + 1:
                bench.first.error = bench.second.error = Unavailable("away")
            yield Message(b"%d" % number)

    with pytest.raises(Unavailable, match=f"The first {TOGETHER} are on the queue"):
        bench.queue.bulk(messages(), queue="default")


def test_a_job_waits_until_the_connection_that_it_came_from_has_what_it_pushes(bench: Bench) -> None:
    bench.queue = bench.failover(Kept("kafka", served_by=1), bench.second)
    job: Any = object()
    token = job_context.set(job)
    try:
        bench.push()
        bench.queue.first.error = Unavailable("away")  # type: ignore[attr-defined]
        bench.push()
    finally:
        job_context.reset(token)

    assert bench.queue.first.jobs == [None, None]  # type: ignore[attr-defined]
    assert bench.second.jobs == [job]


class Away(Job):
    """Raises what it raises of a connection."""

    name = "away"
    runs = 0
    error: ClassVar[Exception]

    def handle(self) -> None:
        """Count it, and raise."""
        type(self).runs += 1
        raise self.error


@pytest.mark.parametrize("error", [Unavailable("a service of the job's"), MessageTooLarge("a job of the job's")])
@pytest.mark.parametrize("stands", ["first", "second", "within"])
def test_what_a_job_raises_that_is_run_in_its_push_is_no_outage_and_the_job_goes_nowhere_else(
    bench: Bench, error: Exception, stands: str
) -> None:
    container = Container()
    registry = Registry(container)
    registry.register(Away)
    Away.runs, Away.error = 0, error
    sync = SyncQueue("sync", Runner(registry, container, Policy(tries=1, backoff=(), timeout=0)))
    bench.first.error = Unavailable("first is away")
    members = {
        "first": (sync, bench.second),
        "second": (bench.first, sync, bench.second),
        "within": (bench.failover(sync), bench.second),
    }
    queue = bench.failover(*members[stands])

    for _ in range(2):
        with pytest.raises(type(error), match="of the job's"):
            queue.push(Message(write("away", {}, id="1")), queue="default")

    assert (Away.runs, bench.second.kept) == (2, [])
    assert bench.told == []


def test_a_listener_that_raises_takes_no_job_back(bench: Bench) -> None:
    def listen(event: QueueFailedOver) -> None:
        raise LookupError(event.failed)

    bench.events.listen(QueueFailedOver, listen)
    bench.first.error = Unavailable("away")

    bench.push()

    assert bench.second.kept == [("default", b"job")]


# what waits on the others ───────────────────────────────────────────────────────────────────────────────────────────


def job_due(id: str, due: float) -> HeldJob:
    """A job that is due later."""
    return HeldJob(id, id, "letter", "default", due, can_cancel=True)


def test_jobs_that_are_due_later_are_listed_from_all_connections_the_earliest_first(bench: Bench) -> None:
    bench.first.hold_back(job_due("a", 3.0), job_due("b", 9.0))
    bench.second.hold_back(job_due("c", 1.0), job_due("d", 5.0))
    queue = bench.failover(bench.first, bench.second)

    assert [job.id for job in queue.held(most=3)] == ["c", "a", "d"]


def test_a_job_is_cancelled_on_the_connection_where_it_waits(bench: Bench) -> None:
    bench.first.hold_back()
    bench.second.hold_back(job_due("c", 1.0))
    queue = bench.failover(bench.first, bench.second)
    bench.first.error = Unavailable("away")

    assert (queue.cancel("c"), bench.second.waiting) == (1, [])
    with pytest.raises(Unavailable, match="away"):
        queue.cancel("c")


def test_a_job_that_may_be_where_none_can_be_cancelled_is_not_called_gone(bench: Bench) -> None:
    bench.first.hold_back(job_due("a", 1.0))
    bench.second.lacks = {"cancel": "It never forgets."}
    queue = bench.failover(bench.first, bench.second)

    assert "cancel" not in queue.lacks
    assert queue.cancel("a") == 1
    with pytest.raises(QueueError, match=r"It may be on 'second', which can't cancel a job\. It never forgets\."):
        queue.cancel("a")


def test_what_is_cleared_and_counted_is_the_firsts_and_the_others_are_named(bench: Bench) -> None:
    bench.second.hold_back()
    bench.first.hold_back()
    queue = bench.failover(bench.first, bench.second)

    assert "`queue:clear second`" in queue.lacks["clear_others"]
    assert "second:default" in queue.sizes("default").notes[-1]


# configuration ───────────────────────────────────────────────────────────────────────────────────────────────────────


def manager_of(**connections: Any) -> QueueManager:
    """A manager of these connections."""
    container: Any = Container()
    config = Repository({"queue": {"default": "a", "connections": connections}})
    manager = QueueManager(config)
    container.instance(Config, config)
    container.instance(EventsContract, Events())
    container.instance(QueueManager, manager)
    manager.extend("null", lambda name, options: NullQueue(name))
    manager.extend("memory", lambda name, options: connect_memory(container, name, options))
    manager.extend("failover", lambda name, options: connect(container, name, options))
    return manager


def test_a_failover_of_the_configuration_is_worked_by_its_first_connection() -> None:
    manager = manager_of(
        a={"driver": "failover", "connections": "b,c", "after_commit": True},
        b={"driver": "failover", "connections": ["d"], "break_for": 1},
        c={"driver": "null"},
        d={"driver": "memory", "queue": "store"},
    )

    manager.connection().push(Message(b"job"), queue="store")

    queue = manager.connection()
    assert (queue.default_queue, queue.lacks) == ("store", manager.connection("d").lacks)
    assert (queue.sizes("store").pending, manager.connection("d").sizes("store").pending) == (1, 1)
    assert manager.able("work") == ["a", "b", "d"]
    assert isinstance(queue, FailoverQueue)
    bell: SimpleQueue[object] = SimpleQueue()
    queue.open(("store",), bell)
    delivery = queue.pop(("store",), 0)
    assert delivery is not None
    assert (delivery.connection, delivery.payload) == ("d", b"job")
    delivery.delete()
    assert queue.pop(("store",), 0) is None
    assert queue.is_exhausted()
    assert queue.clear("store") == 0
    queue.served_by = 7
    assert (queue.served_by, manager.connection("d").served_by) == (7, 7)  # type: ignore[attr-defined]
    assert queue.close(timeout=5)
    with pytest.raises(QueueError, match="The connection 'd' is not open"):
        queue.pop(("store",), 0)


def test_a_dispatch_waits_for_a_commit_where_any_of_the_connections_says_so() -> None:
    manager = manager_of(
        a={"driver": "failover", "connections": "b,c"},
        b={"driver": "null"},
        c={"driver": "failover", "connections": "d"},
        d={"driver": "memory", "after_commit": True},
        e={"driver": "failover", "connections": "b"},
    )
    for name in "ae":
        manager.connection(name)

    assert manager.after_commit == {"a", "c", "d"}


@pytest.mark.parametrize(
    ("name", "names"),
    [("a", "adb"), ("b", "bda"), ("d", "dab"), ("c", "ce"), ("e", "ec"), ("f", "f"), ("g", "g"), ("h", "h")],
)
def test_the_names_under_which_the_same_jobs_are_worked(name: str, names: str) -> None:
    manager = manager_of(
        a={"driver": "failover", "connections": "b, c"},
        b={"driver": "failover", "connections": ["d"]},
        c={"driver": "null"},
        d={"driver": "memory"},
        e={"driver": "failover", "connections": ["c"]},
        f={"driver": "failover", "connections": []},
        g={"driver": "failover", "connections": 3},
        h={"driver": "failover", "connections": "i"},
        i={"driver": "failover", "connections": "h"},
    )

    assert "".join(manager.names_of(name)) == names


@pytest.mark.parametrize(
    ("connections", "told"),
    [
        ({"a": {"connections": ["a"]}}, "in a circle: a → a"),
        ({"a": {"connections": ["b"]}, "b": {"connections": ["c", "a"]}, "c": {"driver": "null"}}, "a → b → a"),
        (
            {"a": {"connections": ["b"]}, "b": {"connections": ["gone"]}},
            r"\(connections.b\) names the connection 'gone'",
        ),
        ({"a": {"connections": []}}, "names no connection"),
        ({"a": {"connections": ["b", "b"]}, "b": {"driver": "null"}}, "names a connection twice"),
        ({"a": {"connections": ["b"], "break_for": -1}, "b": {"driver": "null"}}, "negative"),
        ({"a": {}}, "needs the key 'connections'"),
        ({"a": {"connections": ["b"]}, "b": {"driver": "null", "after_commit": 3}}, "takes True or False"),
    ],
)
def test_a_failover_that_can_not_be_says_why(connections: dict[str, dict[str, Any]], told: str) -> None:
    manager = manager_of(**{name: {"driver": "failover", **options} for name, options in connections.items()})

    with pytest.raises(ConfigError, match=told):
        manager.connection("a")


def test_a_refusal_that_is_no_outage_says_what_is_on_the_queue(bench: Bench) -> None:
    def messages() -> Iterator[Message]:
        for number in range(TOGETHER + 2):
            if number == TOGETHER + 1:
                bench.first.error = QueueError("no such topic.")
            yield Message(b"%d" % number)

    with pytest.raises(QueueError, match=f"no such topic. The first {TOGETHER} are on the queue"):
        bench.queue.bulk(messages(), queue="default")
