"""Answers of SQS that are cut, empty, another server's, or say that a part was not done."""

import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from lamplighter.queue.drivers.sqs import account as module
from lamplighter.queue.drivers.sqs.account import Access, Account
from lamplighter.queue.drivers.sqs.store import SqsStore
from lamplighter.testing.waiting import wait_for
from tests.lamplighter.queue.drivers.sqs.between import Answer, Between, Spoil, fail_entries, refuse
from tests.sqs import Moto, Stores

pytestmark = pytest.mark.sqs

EMPTY: dict[str, Spoil] = {
    "nothing": lambda question, answer: Answer(b""),
    "a page": lambda question, answer: Answer(b"<html>welcome</html>"),
    "no text": lambda question, answer: Answer(b"\xff\xfe"),
    "no object": lambda question, answer: Answer(b"[]"),
    "half": lambda question, answer: Answer(answer[: len(answer) // 2]),
    "cut": lambda question, answer: Answer(answer[: len(answer) // 2], length=len(answer)),
}
NO_MEMBERS: dict[str, Spoil] = {"no members": lambda question, answer: Answer(b"{}")}
FORBIDDEN: Spoil = refuse("AccessDenied", 403)
LATER = (
    ("RequestThrottled", 400),
    ("ThrottlingException", 400),
    ("KMS.ThrottlingException", 400),
    ("SlowDown", 400),
    ("RequestExpired", 400),
    ("BandwidthLimitExceeded", 400),
    ("PriorRequestNotComplete", 400),
    ("RequestTimeout", 408),
    ("TooManyRequests", 429),
    ("ExpiredToken", 403),
    ("ExpiredTokenException", 400),
    ("ServiceUnavailable", 503),
    ("InternalError", 500),
)


@pytest.fixture
def between(moto: Moto) -> Iterator[Between]:
    """What spoils answers."""
    between = Between(moto)
    yield between
    between.close()


@pytest.fixture
def store(between: Between) -> Iterator[SqsStore]:
    """A store whose answers are spoiled."""
    store = between.store()
    yield store
    store.close()


def payload(number: int) -> bytes:
    """A payload that is told from others."""
    return b'{"uuid":"u-%d","job":"probe","data":{},"attempts":0}' % number


def push(store: SqsStore, queue: str, *numbers: int) -> None:
    """Push jobs."""
    store.push(queue, [Message(payload(number)) for number in numbers], 0)


def take(store: SqsStore, *queues: str, most: int = 1, ended: Sequence[Ended] = ()) -> list[Lease]:
    """Take jobs."""
    return list(store.take(queues, most, ended).leases)


@pytest.mark.parametrize("spoil", [*EMPTY.values(), *NO_MEMBERS.values()], ids=[*EMPTY, *NO_MEMBERS])
@pytest.mark.parametrize(("operation", "count"), [("SendMessage", 1), ("SendMessageBatch", 3)])
def test_a_push_whose_answer_names_no_message_has_not_succeeded(
    moto: Moto, between: Between, store: SqsStore, spoil: Spoil, operation: str, count: int
) -> None:
    queue = moto.queue()
    between.spoil[operation] = (1, spoil)

    with pytest.raises(Unavailable):
        push(store, queue, *range(count))


@pytest.mark.parametrize("spoil", EMPTY.values(), ids=EMPTY)
def test_a_start_does_not_count_whose_answer_was_incomplete(
    moto: Moto, between: Between, spoil: Spoil, stores: Stores
) -> None:
    store, queue = between.store(1), moto.queue()
    push(store, queue, 1)
    between.spoil["ReceiveMessage"] = (1, spoil)
    with pytest.raises(Unavailable):
        take(store, queue)

    found = wait_for(lambda: take(store, queue))

    assert [lease.retries for lease in found] == [0]
    store.close()


def test_a_message_without_a_handle_is_not_taken_for_one(moto: Moto, between: Between, store: SqsStore) -> None:
    queue = moto.queue()
    between.spoil["ReceiveMessage"] = (1, lambda question, answer: Answer(b'{"Messages":[{"MessageId":"1"}]}'))

    with pytest.raises(Unavailable, match="lacks ReceiptHandle"):
        take(store, queue)


@pytest.mark.parametrize("how", [How.DELETED, How.RELEASED])
@pytest.mark.parametrize("spoil", [EMPTY["nothing"], EMPTY["a page"], NO_MEMBERS["no members"]])
def test_an_end_is_told_again_that_the_answer_does_not_name(
    moto: Moto, between: Between, store: SqsStore, how: How, spoil: Spoil
) -> None:
    queue = moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    operation = "DeleteMessageBatch" if how is How.DELETED else "ChangeMessageVisibilityBatch"
    between.spoil[operation] = (1, spoil)
    with pytest.raises(Unavailable):
        take(store, ended=[Ended(lease, how)])

    take(store, ended=[Ended(lease, how)])

    assert between.asked.count(operation) == 2


def test_a_queue_is_cleared_and_counted(moto: Moto, between: Between, store: SqsStore) -> None:
    queue = moto.queue()
    push(store, queue, 1, 2)

    assert store.clear(queue) == 2

    between.spoil["GetQueueAttributes"] = (1, NO_MEMBERS["no members"])
    with pytest.raises(Unavailable):
        store.sizes(queue)


@pytest.mark.parametrize(("code", "status"), LATER)
def test_an_error_that_passes_is_an_outage(
    moto: Moto, between: Between, store: SqsStore, code: str, status: int
) -> None:
    queue = moto.queue()
    between.spoil["SendMessage"] = (1, refuse(code, status))
    with pytest.raises(Unavailable, match=code):
        push(store, queue, 1)

    push(store, queue, 2)

    assert store.sizes(queue).pending == 2  # moto had done the first one, too


def test_a_refusal_is_none(moto: Moto, between: Between, store: SqsStore) -> None:
    queue = moto.queue()
    between.spoil["SendMessage"] = (1, FORBIDDEN)

    with pytest.raises(QueueError, match="AccessDenied") as caught:
        push(store, queue, 1)

    assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize(("code", "is_fault"), [("RequestThrottled", True), ("InternalError", False)])
def test_a_delete_that_is_throttled_is_told_again(
    moto: Moto, between: Between, store: SqsStore, code: str, is_fault: bool
) -> None:
    queue = moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    between.spoil["DeleteMessageBatch"] = (1, fail_entries(code, is_fault=is_fault))
    with pytest.raises(Unavailable, match=code):
        take(store, ended=[Ended(lease, How.DELETED)])

    take(store, ended=[Ended(lease, How.DELETED)])

    assert between.asked.count("DeleteMessageBatch") == 2


@pytest.mark.parametrize(
    ("how", "operation"), [(How.DELETED, "DeleteMessageBatch"), (How.RELEASED, "ChangeMessageVisibilityBatch")]
)
def test_an_end_that_is_refused_for_good_is_told(
    moto: Moto, between: Between, store: SqsStore, caplog: pytest.LogCaptureFixture, how: How, operation: str
) -> None:
    queue = moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    between.spoil[operation] = (1, fail_entries("ReceiptHandleIsInvalid", is_fault=True))

    take(store, ended=[Ended(lease, how)])

    assert "SQS refuses the end of a job" in caplog.text
    assert between.asked.count(operation) == 1


def test_the_leases_that_could_be_renewed_last_beside_one_that_could_not(
    moto: Moto, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = between.store(30), moto.queue()
    push(store, queue, *range(11))
    leases = take(store, queue, most=11)
    before = {lease: lease.handle.until for lease in leases}
    between.spoil["ChangeMessageVisibilityBatch"] = (1, fail_entries("RequestThrottled", is_fault=True))

    with pytest.raises(Unavailable):
        store.renew(leases)

    assert sum(lease.handle.until > before[lease] for lease in leases) == 1
    store.close()


def test_a_push_to_a_server_that_says_nothing_ends_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.CONNECT + module.ANSWER <= 10
    monkeypatch.setattr(module, "ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        prefix = f"http://127.0.0.1:{silent.getsockname()[1]}/1"
        store = SqsStore(Account(Access(region="us-east-1", key="k", secret="s", prefix=prefix)), seconds=30)
        began = time.monotonic()

        with pytest.raises(Unavailable, match="does not answer"):
            push(store, "jobs", 1)

        assert time.monotonic() - began < 5
        store.close()


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let each receive take so long."""
    ask = Account.ask

    def asked(account: Account, operation: str, queue: str, **arguments: Any) -> dict[str, Any]:
        answer = ask(account, operation, queue, **arguments)
        time.sleep(seconds if operation == "receive_message" else 0)
        return answer

    monkeypatch.setattr(Account, "ask", asked)


def test_jobs_begin_before_many_slots_are_filled(moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store, queue = stores(4), moto.queue()
    push(store, queue, *range(60))
    slow(monkeypatch, 0.3)
    began = time.monotonic()

    first = take(store, queue, most=60)

    assert time.monotonic() - began < 2
    assert 10 <= len(first) <= 30
    assert store.renew(first) == []
    assert not {lease.mark for lease in first} & {lease.mark for lease in take(store, queue, most=60)}


def test_what_came_too_late_is_not_begun_and_its_start_does_not_count(
    moto: Moto, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queue = stores(1), moto.queue()
    push(store, queue, 1)
    with monkeypatch.context() as patch:
        slow(patch, 1.1)
        assert take(store, queue) == []

    found = wait_for(lambda: take(store, queue))

    assert [lease.retries for lease in found] == [0]


def test_a_job_stays_that_may_not_be_sent_anew(moto: Moto, between: Between, store: SqsStore) -> None:
    queue = moto.queue()
    push(store, queue, 1)
    (lease,) = take(store, queue)
    between.spoil["SendMessage"] = (1, FORBIDDEN)
    end = Ended(lease, How.EXCUSED, 1)

    taken = store.take((), 0, [end])

    assert taken.kept == [end]
    assert store.renew([lease]) == []
