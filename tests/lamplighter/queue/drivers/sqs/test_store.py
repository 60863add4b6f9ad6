"""Jobs in what answers as SQS does."""

import itertools
import os
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable, UnsupportedDelay
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from lamplighter.queue.drivers.sqs import store as module
from lamplighter.queue.drivers.sqs.account import Access, Account, Unheard
from lamplighter.queue.drivers.sqs.messages import SENT_AS
from lamplighter.queue.drivers.sqs.store import SqsStore
from tests.harness import free_ports, wait_for
from tests.sqs import Moto, Stores

pytestmark = pytest.mark.sqs


def payload(number: int, attempts: int = 0) -> bytes:
    """A payload that is told from others."""
    return b'{"uuid":"u-%d","job":"probe","data":{},"attempts":%d}' % (number, attempts)


def push(store: SqsStore, queue: str, *numbers: int, delay: float = 0, key: bytes | None = None) -> None:
    """Push jobs."""
    store.push(queue, [Message(payload(number), key) for number in numbers], delay)


def take(store: SqsStore, *queues: str, most: int = 1, ended: Sequence[Ended] = ()) -> list[Lease]:
    """Take jobs."""
    return list(store.take(queues, most, ended).leases)


def take_soon(store: SqsStore, *queues: str) -> Lease:
    """Take a job that comes."""
    found: list[Lease] = []

    def look() -> bool:
        found.extend(take(store, *queues))
        return bool(found)

    wait_for(look)
    return found[0]


def break_answers(monkeypatch: pytest.MonkeyPatch, operation: str, *, times: int = 1) -> None:
    """Let SQS do an operation, and lose its answer."""
    ask = Account.ask
    left = itertools.count(1)

    def broken(account: Account, name: str, queue: str, **arguments: Any) -> dict[str, Any]:
        answer = ask(account, name, queue, **arguments)
        if name == operation and next(left) <= times:
            raise Unheard("the answer was lost")
        return answer

    monkeypatch.setattr(Account, "ask", broken)


def test_an_end_and_the_next_start(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1, 2)
    (first,) = take(store, queue)

    (second,) = take(store, queue, ended=[Ended(first, How.DELETED)])

    assert {first.payload, second.payload} == {payload(1), payload(2)}
    assert (store.sizes(queue).pending, store.sizes(queue).reserved) == (0, 1)


def test_no_more_is_received_than_can_begin(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, *range(25))

    leases = take(store, queue, most=13)

    assert len(leases) == 13
    assert (store.sizes(queue).pending, store.sizes(queue).reserved) == (12, 13)


@pytest.mark.parametrize(
    "body",
    [b"x", "Ünïcödé \U0001f600".encode(), b'{"a":"\\u0000 & <b>]]>"}', b"a" * 1024 * 1024],
    ids=["one byte", "unicode", "XML's own", "1 MiB"],
)
def test_text_travels(moto: Moto, stores: Stores, body: bytes) -> None:
    store, queue = stores(), moto.queue()
    store.push(queue, [Message(body)], 0)

    (lease,) = take(store, queue)

    assert lease.payload == body


def test_a_character_that_sqs_does_not_carry_is_escaped_in_json(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    store.push(queue, [Message('{"data":"\ufffe\uffff"}'.encode())], 0)

    (lease,) = take(store, queue)

    assert lease.payload == b'{"data":"\\ufffe\\uffff"}'


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "no empty message"), (b"\xff", "no UTF-8"), (b"a\0b", r"U\+0000"), ("no JSON \ufffe".encode(), r"U\+FFFE")],
)
def test_what_sqs_does_not_carry_is_refused_and_none_is_sent(
    moto: Moto, stores: Stores, body: bytes, reason: str
) -> None:
    store, queue = stores(), moto.queue()

    with pytest.raises(QueueError, match=reason):
        store.push(queue, [Message(payload(1)), Message(body)], 0)

    assert store.sizes(queue).pending == 0


def test_what_is_too_large_is_refused_and_none_is_sent(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue(MaximumMessageSize="2048")

    with pytest.raises(MessageTooLarge, match=r"2,049 bytes.* at most 2,048") as caught:
        store.push(queue, [Message(payload(1)), Message(b"x" * 2049)], 0)

    assert (caught.value.size, caught.value.limit) == (2049, 2048)
    assert store.sizes(queue).pending == 0


def test_many_are_sent_in_batches_that_are_not_too_large(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    bodies = [b"%03d" % number + b"x" * 30_000 for number in range(35)]

    store.push(queue, [Message(body) for body in bodies], 0)

    assert sorted(lease.payload for lease in take(store, queue, most=40)) == bodies


def test_what_has_failed_in_a_batch_is_sent_by_itself(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = stores(), moto.queue()
    ask = Account.ask

    def refuse_some(account: Account, operation: str, name: str, **arguments: Any) -> dict[str, Any]:
        if operation != "send_message_batch":
            return ask(account, operation, name, **arguments)
        entries = arguments["Entries"]
        answer = ask(account, operation, name, Entries=entries[:4])
        return {**answer, "Failed": [{"Id": one["Id"], "SenderFault": False, "Code": "x"} for one in entries[4:]]}

    monkeypatch.setattr(Account, "ask", refuse_some)

    push(store, queue, *range(10))

    assert sorted(lease.payload for lease in take(store, queue, most=20)) == [payload(n) for n in range(10)]


def test_one_that_can_not_be_sent_is_told_with_what_is_there(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = stores(), moto.queue()
    ask = Account.ask

    def refuse(account: Account, operation: str, name: str, **arguments: Any) -> dict[str, Any]:
        if operation == "send_message":
            raise QueueError("the last one is refused")
        return ask(account, operation, name, **arguments)

    monkeypatch.setattr(Account, "ask", refuse)

    with pytest.raises(QueueError, match=r"the last one is refused At least 10 of 11 messages are on the queue\."):
        push(store, queue, *range(11))

    assert store.sizes(queue).pending == 10


def test_key_and_headers_travel(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    headers = (("trace-id", b"\x00\xff"), ("user.name", "Ü".encode()))
    store.push(queue, [Message(payload(1), b"\x01key", headers)], 0)

    (lease,) = take(store, queue)

    assert (lease.key, tuple(lease.headers)) == (b"\x01key", headers)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("a b", b"x")], "no header 'a b'"),
        ([("AWS.x", b"x")], "no header 'AWS.x'"),
        ([("a", b"x"), ("a", b"y")], "no header 'a'"),
        ([("a", None)], "without a value"),
        ([(f"h{number}", b"x") for number in range(10)], "10 attributes: the key and 9 headers"),
    ],
)
def test_a_header_that_sqs_does_not_carry_is_refused(
    moto: Moto, stores: Stores, headers: list[tuple[str, bytes | None]], reason: str
) -> None:
    with pytest.raises(QueueError, match=reason):
        stores().push(moto.queue(), [Message(payload(1), b"key", headers)], 0)


def test_a_message_of_laravel_is_taken(moto: Moto, stores: Stores) -> None:
    queue = moto.queue()
    moto.client.send_message(QueueUrl=moto.address(queue), MessageBody='{"job":"probe"}')

    (lease,) = take(stores(), queue)

    assert (lease.payload, lease.key, lease.headers, lease.retries) == (b'{"job":"probe"}', None, (), 0)
    assert lease.timestamp_ms is not None
    assert abs(lease.timestamp_ms / 1000 - time.time()) < 60


def test_a_start_counts_where_it_was_released(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)

    (again,) = take(store, queue, ended=[Ended(lease, How.RELEASED)])

    assert (again.payload, again.retries, again.mark) == (payload(1), 1, lease.mark)


@pytest.mark.parametrize("how", [How.EXCUSED, How.GIVEN_BACK])
def test_a_start_that_does_not_count_is_taken_back_for_every_worker(moto: Moto, stores: Stores, how: How) -> None:
    store, other, queue = stores(), stores(), moto.queue()
    store.push(queue, [Message(payload(1), b"key", [("a", b"1")])], 0)
    (lease,) = take(store, queue)
    (lease,) = take(store, queue, ended=[Ended(lease, How.RELEASED)])

    take(store, ended=[Ended(lease, how)])

    (again,) = take(other, queue, most=5)
    assert (again.payload, again.retries, again.key) == (payload(1, attempts=1), 0, b"key")
    assert list(again.headers) == [("a", b"1")]
    assert store.sizes(queue).reserved == 1


@pytest.mark.parametrize("how", [How.RELEASED, How.EXCUSED])
def test_a_released_job_never_comes_before_its_delay_is_over(moto: Moto, stores: Stores, how: How) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    began = time.monotonic()

    take(store, ended=[Ended(lease, how, 1.2)])

    take_soon(store, queue)
    assert time.monotonic() - began >= 1.2


def test_a_pushed_job_never_comes_before_its_delay_is_over(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    began = time.monotonic()
    push(store, queue, 1, delay=0.4)
    assert store.sizes(queue).delayed == 1

    take_soon(store, queue)

    assert time.monotonic() - began >= 0.4


def test_a_delay_beyond_sqs_is_refused(moto: Moto, stores: Stores) -> None:
    with pytest.raises(UnsupportedDelay, match="at most 900 seconds, and not for 901"):
        push(stores(), moto.queue(), 1, delay=900.5)


def test_no_message_of_a_fifo_queue_is_held_back(moto: Moto, stores: Stores) -> None:
    with pytest.raises(UnsupportedDelay, match="no single message of a FIFO queue"):
        push(stores(), moto.queue(fifo=True), 1, delay=1)


def test_a_release_beyond_sqs_comes_as_late_as_it_can(
    moto: Moto, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)

    take(store, ended=[Ended(lease, How.RELEASED, 100_000)])

    assert "12 hours at most" in caplog.text
    assert take(store, queue) == []


def test_a_lease_that_is_renewed_outlasts_its_visibility_timeout(moto: Moto, stores: Stores) -> None:
    store, other, queue = stores(2), stores(), moto.queue()
    assert take(other, queue) == []  # its client is made before the lease begins: that may take as long as one lasts
    push(store, queue, 1)
    (lease,) = take(store, queue)
    until = time.monotonic() + 6

    while time.monotonic() < until:
        assert store.renew([lease]) == []
        assert take(other, queue) == []
        time.sleep(0.1)

    take(store, ended=[Ended(lease, How.DELETED)])
    assert store.sizes(queue).reserved == 0


def test_a_lease_is_lost_when_sqs_extends_it_no_more(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    monkeypatch.setattr(module, "LONGEST_LEASE", 0)

    assert store.renew([lease]) == [lease]


@pytest.mark.parametrize("how", list(How))
def test_the_end_of_a_lease_that_has_run_out_changes_nothing(moto: Moto, stores: Stores, how: How) -> None:
    store, other, queue = stores(1), stores(), moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    again = take_soon(other, queue)
    assert again.retries == 1

    take(store, ended=[Ended(lease, how)])

    assert (store.sizes(queue).pending, store.sizes(queue).reserved) == (0, 1)
    assert other.renew([again]) == []


def test_no_low_job_begins_while_a_high_one_waits(moto: Moto, stores: Stores) -> None:
    store, low, high = stores(), moto.queue(), moto.queue()
    push(store, low, 1, 2)
    push(store, high, 11, 12)

    taken = [lease.queue for _ in range(4) for lease in take(store, high, low)]

    assert taken == [high, high, low, low]


def test_an_idle_worker_is_given_a_job_as_it_comes(moto: Moto, stores: Stores) -> None:
    store, other, queue = stores(60, block_for=20), stores(), moto.queue()
    timer = threading.Timer(0.3, push, (other, queue, 1))
    timer.start()
    began = time.monotonic()

    leases = store.poll(queue)

    assert 0.3 <= time.monotonic() - began < 4
    assert [lease.retries for lease in leases] == [0]
    timer.join()


def test_an_idle_worker_costs_one_request_for_each_long_poll(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, name = stores(9, block_for=20), moto.queue()
    queue, bell = LeasingQueue("sqs", store, default_queue=name), SimpleQueue[object]()
    waits: list[int] = []
    ask = Account.ask

    def counted(account: Account, operation: str, queue: str, **arguments: Any) -> dict[str, Any]:
        waits.append(arguments["WaitTimeSeconds"])
        return ask(account, operation, queue, **arguments)

    monkeypatch.setattr(Account, "ask", counted)
    queue.open([name], bell)
    bell.put(None)
    began = time.monotonic()
    assert queue.pop([name], 20) is None
    heard = time.monotonic() - began
    assert queue.pop([name], 4.5) is None
    idle = list(waits)
    monkeypatch.undo()
    push(store, name, 1)
    delivery = queue.pop([name], 10)

    assert heard < 2
    assert idle == [0, 3, 3]
    assert delivery is not None
    assert queue.close(timeout=10)


def test_what_comes_to_the_last_poll_of_a_worker_is_there_for_the_next_one_unstarted(
    moto: Moto, stores: Stores
) -> None:
    store, other, name = stores(60, block_for=20), stores(), moto.queue()
    queue, bell = LeasingQueue("sqs", store, default_queue=name), SimpleQueue[object]()
    queue.open([name], bell)
    assert queue.pop([name], 0.3) is None
    timer = threading.Timer(0.3, push, (other, name, 1))
    timer.start()

    is_told = queue.close(timeout=20)

    timer.join()
    assert is_told
    again = take_soon(other, name)
    assert (again.payload, again.retries) == (payload(1), 0)


def test_sqs_is_not_waited_for_while_a_job_is_in_hand(moto: Moto, stores: Stores) -> None:
    store, queue = stores(block_for=5), moto.queue()
    push(store, queue, 1)
    take(store, queue)
    began = time.monotonic()

    assert take(store, queue) == []

    assert time.monotonic() - began < 3


def test_a_fifo_queue_keeps_the_order_of_a_key(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue(fifo=True)
    push(store, queue, 1, 2, key=b"a")
    push(store, queue, 3, key=b"b b")
    taken = take(store, queue, most=10)
    first = {lease.payload: lease for lease in taken}
    assert payload(1) in first
    assert payload(3) in first

    take(store, ended=[Ended(lease, How.RELEASED) for lease in taken])

    again = take(store, queue, most=10)
    assert next(lease.payload for lease in again if lease.key == b"a") == payload(1)
    assert {lease.key for lease in again} == {b"a", b"b b"}


def test_a_fifo_queue_takes_a_payload_once(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue(fifo=True)

    push(store, queue, 1, key=b"a")
    push(store, queue, 1, key=b"a")

    (lease,) = take(store, queue, most=10)
    assert dict(lease.headers)[SENT_AS] == b"u-1"


def test_a_job_of_a_fifo_queue_that_is_pushed_again_on_purpose_is_there_again(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue(fifo=True)
    push(store, queue, 1, key=b"a")
    (lease,) = take(store, queue)
    take(store, ended=[Ended(lease, How.DELETED)])

    store.push(queue, [Message(lease.payload, lease.key, lease.headers)], 0)

    (again,) = take(store, queue)
    assert (again.payload, again.key) == (payload(1), b"a")


def test_a_job_of_a_fifo_queue_that_is_given_back_has_not_been_started_where_that_is_known(
    moto: Moto, stores: Stores
) -> None:
    store, queue = stores(), moto.queue(fifo=True)
    push(store, queue, 1, 2, key=b"a")
    (lease,) = take(store, queue)

    (again,) = take(store, queue, ended=[Ended(lease, How.GIVEN_BACK)])

    assert (again.payload, again.retries) == (payload(1), 0)


def test_a_job_of_a_fifo_queue_whose_start_must_not_count_stays_in_its_worker_and_its_group_waits(
    moto: Moto, stores: Stores
) -> None:
    store, other, queue = stores(), stores(), moto.queue(fifo=True)
    push(store, queue, 1, 2, key=b"a")
    (lease,) = take(store, queue)
    end = Ended(lease, How.EXCUSED, 5)

    for _ in range(2):
        assert store.take([queue], 1, [end]).kept == [end]

    assert take(other, queue) == []
    assert store.renew([lease]) == []
    (after,) = take(store, queue, ended=[Ended(lease, How.DELETED)])
    assert after.payload == payload(2)


def test_an_excused_job_of_a_fifo_queue_comes_to_no_other_worker(moto: Moto, stores: Stores) -> None:
    name, other = moto.queue(fifo=True), stores()
    queue = LeasingQueue("sqs", stores(), default_queue=name)
    push(other, name, 1, 2, key=b"a")
    queue.open([name], SimpleQueue())
    delivery = queue.pop([name], 5)
    assert delivery is not None
    delivery.release(1, counted=False)
    until = time.monotonic() + 2.5

    while time.monotonic() < until:
        assert take(other, name) == []
        time.sleep(0.1)

    again = queue.pop([name], 5)
    assert again is not None
    assert (again.payload, again.retries, again.excused) == (payload(1), 0, 1)
    assert queue.close(timeout=10)
    assert take_soon(other, name).payload == payload(1)


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("how", [How.RELEASED, How.GIVEN_BACK])
def test_jobs_of_a_key_end_in_their_order_whoever_runs_them_and_whatever_fails(
    moto: Moto, stores: Stores, slots: int, how: How
) -> None:
    queue, workers = moto.queue(fifo=True), [stores() for _ in range(3)]
    for key in (10, 20):
        push(workers[0], queue, *range(key, key + 4), key=b"%d" % key)
    ends: dict[SqsStore, list[Ended]] = {worker: [] for worker in workers}
    done: list[bytes] = []
    met: set[bytes] = set()

    def turn() -> bool:
        in_hand = []
        for worker in workers:
            leases = take(worker, queue, most=slots, ended=ends[worker])
            in_hand += leases
            again = {lease for lease in leases if lease.payload in met}
            met.update(lease.payload for lease in leases)
            done.extend(lease.payload for lease in again)
            ends[worker] = [Ended(lease, How.DELETED if lease in again else how) for lease in leases]
        keys = [lease.key for lease in in_hand]
        assert len(set(keys)) == len(keys)
        return len(done) == 8

    wait_for(turn)

    assert sorted(done, key=lambda one: one.startswith(b'{"uuid":"u-2')) == [
        payload(key + number) for key in (10, 20) for number in range(4)
    ]


def test_sizes_and_clear(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1, 2, 3)
    push(store, queue, 4, 5, delay=100)
    take(store, queue)
    sizes = store.sizes(queue)
    assert (sizes.pending, sizes.delayed, sizes.reserved, sizes.notes) == (2, 2, 1, ("SQS counts approximately.",))

    assert store.clear(queue) == 5

    assert (store.sizes(queue).pending, store.sizes(queue).delayed) == (0, 0)


def test_a_missing_queue_is_named(stores: Stores) -> None:
    for store in (stores(), stores(prefix=False)):
        with pytest.raises(QueueError, match="SQS has no queue 'nowhere' at"):
            push(store, "nowhere", 1)
        with pytest.raises(QueueError, match="SQS has no queue 'nowhere' at"):
            take(store, "nowhere")


def test_the_address_of_a_queue_is_that_of_laravel(moto: Moto, stores: Stores) -> None:
    moto.queue(name="orders-staging")
    moto.queue(name="orders-staging.fifo", fifo=True)

    for store in (stores(suffix="-staging"), stores(suffix="-staging", prefix=False)):
        for name in ("orders", "orders-staging", "orders.fifo", moto.address("orders-staging")):
            assert store.sizes(name).pending == 0


def test_a_reception_whose_answer_was_lost_does_not_count(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = stores(1), moto.queue()
    push(store, queue, 1)
    break_answers(monkeypatch, "receive_message")
    with pytest.raises(Unavailable):
        take(store, queue)

    lease = take_soon(store, queue)

    assert (lease.payload, lease.retries) == (payload(1), 0)


@pytest.mark.parametrize("how", list(How))
def test_an_end_whose_answer_was_lost_is_told_again(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    is_visible = how is How.RELEASED
    break_answers(monkeypatch, "change_message_visibility_batch" if is_visible else "delete_message_batch")
    with pytest.raises(Unavailable):
        take(store, ended=[Ended(lease, how)])

    take(store, ended=[Ended(lease, how)])

    sizes = store.sizes(queue)
    assert (sizes.pending, sizes.reserved) == (0 if how is How.DELETED else 1, 0)


def test_messages_that_came_before_an_outage_are_given_out(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, *range(12))
    ask = Account.ask
    calls = itertools.count()

    def fail_second(account: Account, operation: str, name: str, **arguments: Any) -> dict[str, Any]:
        if operation == "receive_message" and next(calls) == 1:
            raise Unavailable("away")
        return ask(account, operation, name, **arguments)

    monkeypatch.setattr(Account, "ask", fail_second)

    assert len(take(store, queue, most=12)) == 10


def test_a_server_that_is_not_there_is_away() -> None:
    access = Access(region="us-east-1", key="k", secret="s", prefix=f"http://127.0.0.1:{free_ports(1)}/1")
    store = SqsStore(Account(access), seconds=30)

    with pytest.raises(Unavailable, match="SQS does not answer"):
        push(store, "jobs", 1)

    assert "'s'" not in repr(access)
    store.close()


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    store = SqsStore(Account(Access(region="us-east-1", endpoint="http://127.0.0.1:9")), seconds=30)

    with pytest.raises(QueueError, match="without credentials"):
        push(store, "jobs", 1)

    store.close()


def test_a_child_of_a_fork_asks_on_connections_of_its_own(moto: Moto, stores: Stores) -> None:
    store, queue = stores(), moto.queue()
    push(store, queue, 1, 2)
    (lease,) = take(store, queue)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if len(take(store, queue, most=5)) == 1 else 1)
        finally:
            os._exit(2)

    assert os.waitpid(child, 0)[1] == 0
    assert store.renew([lease]) == []


def test_jobs_of_one_key_are_not_begun_beside_each_other(moto: Moto, stores: Stores) -> None:
    queue = moto.queue(fifo=True)
    store = stores()
    store.push(queue, [Message(payload(n), key) for n, key in enumerate((b"a", b"a", b"b", b"a"))], 0)

    first = store.take([queue], 4, ()).leases
    second = store.take([queue], 4, [Ended(lease, How.DELETED) for lease in first]).leases

    assert [sorted(lease.payload for lease in leases) for leases in (first, second)] == [
        [payload(0), payload(2)],
        [payload(1)],
    ]


def test_a_job_of_a_fifo_queue_without_a_key_has_none(moto: Moto, stores: Stores) -> None:
    queue = moto.queue(fifo=True)
    store = stores()
    store.push(queue, [Message(payload(1)), Message(payload(2), b"k")], 0)

    keys = {lease.key for _ in range(2) for lease in store.take([queue], 1, ()).leases}

    assert keys == {None, b"k"}
