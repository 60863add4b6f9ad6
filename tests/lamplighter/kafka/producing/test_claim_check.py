"""Which payloads travel, which are put aside, and what becomes of these."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import AlreadyDone, ClaimLost, MessageTooLarge
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.queue import KafkaQueue
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.scheduler import Scheduler
from lamplighter.kafka.settings.settings import read_settings
from lamplighter.queue.claims.check import TOGETHER, ClaimCheck
from lamplighter.queue.claims.claims import HEADER
from lamplighter.queue.claims.folder import FileClaims, Pruned
from lamplighter.queue.jobs.payload import MAX_BYTES
from tests.lamplighter.kafka.records import record_of

PAYLOAD = b'{"job":"x","data":"%s"}' % (b"d" * 279)


@pytest.fixture
def claims(tmp_path: Path) -> ClaimCheck:
    """Of a connection that puts almost everything aside."""
    return ClaimCheck(FileClaims(tmp_path), group="g", above=100, limit=1000)


def claimed(claims: ClaimCheck, *, key: bytes | None = b"k", queue: str = "store") -> Message:
    """A message whose payload was put aside."""
    return claims.fit(Message(PAYLOAD, key, ()), queue)


def deliveries(*messages: Message, queue: str = "store") -> list[KafkaDelivery]:
    """These messages in a worker's hand, none of them finished."""
    scheduler = Scheduler({queue: 1}, ordering="none")
    partition = Partition("kafka", queue, 0, offset=0, metadata=None)
    records = [record_of(message, at=1.0, offset=at) for at, message in enumerate(messages)]
    scheduler.arrived(partition, partition.receive(records))
    found: list[KafkaDelivery] = []
    while len(found) < len(messages):
        news = partition.news()
        if news is not None:
            partition.acknowledge(news)
            scheduler.look_at(partition)
        delivery = scheduler.pop()
        if delivery is not None:
            delivery.keep()
            found.append(delivery)
    return found


def files(folder: Path) -> list[tuple[str, int]]:
    """What is in the folder: suffixes and sizes."""
    return sorted((path.suffix, path.stat().st_size) for path in folder.iterdir())


# pushing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("above", "limit", "key", "is_aside"),
    [(300, 1000, b"k", False), (299, 1000, b"k", True), (5000, 310, b"k" * 20, True), (5000, 310, None, False)],
)
def test_what_no_message_can_hold_is_put_aside_whatever_claim_above_says(
    tmp_path: Path, above: int, limit: int, key: bytes | None, is_aside: bool
) -> None:
    claims = ClaimCheck(FileClaims(tmp_path), group="g", above=above, limit=limit)

    fitting = claims.fit(Message(PAYLOAD, key, ()), "store")

    assert len(PAYLOAD) == 300
    assert [name for name, _ in fitting.headers] == ([HEADER] if is_aside else [])
    assert len(list(tmp_path.iterdir())) == is_aside


def bytes_of(message: Message) -> int:
    """What a message takes, headers and all."""
    return len(message.payload) + sum(len(name) + len(value or b"") for name, value in message.headers)


def test_a_payload_is_put_aside_only_where_its_message_becomes_smaller(tmp_path: Path) -> None:
    claims = ClaimCheck(FileClaims(tmp_path), group="g", above=0, limit=1000)
    messages = [Message(b'{"job":"x","data":"%s"}' % (b"d" * size), None, ()) for size in range(300)]

    fitting = [claims.fit(message, "store") for message in messages]

    changed = [(old, new) for old, new in zip(messages, fitting, strict=True) if new is not old]
    assert all(bytes_of(new) < bytes_of(old) for old, new in changed)
    assert len(changed) == len(list(tmp_path.iterdir())) > 100
    assert fitting[:100] == messages[:100]


@pytest.mark.parametrize(("above", "is_aside"), [(319, True), (320, False)])
def test_what_is_put_aside_is_told_by_bytes_and_not_by_characters(tmp_path: Path, above: int, is_aside: bool) -> None:
    payload = '{"job":"x","data":"%s"}'.replace("%s", "ä" * 149 + "d").encode()
    claims = ClaimCheck(FileClaims(tmp_path), group="g", above=above, limit=1000)

    fitting = claims.fit(Message(payload, None, ()), "store")

    assert (len(payload), len(payload.decode())) == (320, 171)
    assert bool(fitting.headers) == is_aside


def test_a_job_that_is_put_back_keeps_the_one_claim_that_it_has(claims: ClaimCheck, tmp_path: Path) -> None:
    message = claimed(ClaimCheck(FileClaims(tmp_path), group="g", above=0, limit=1000))
    narrow = ClaimCheck(FileClaims(tmp_path), group="g", above=0, limit=10)

    again = [each.fit(message, "store") for each in (claims, narrow)]

    assert again == [message, message]
    assert claims.read(deliveries(again[0])[0]) == PAYLOAD
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_put_aside_for_a_message_that_stays_too_large(tmp_path: Path) -> None:
    settings = read_settings({"driver": "kafka", "max_message_bytes": 1000, "claim_check": str(tmp_path)}, where=str)
    queue = KafkaQueue("kafka", settings, address=lambda: None)
    payload = b'{"displayName":"%s","job":"x","data":"%s"}' % (b"n" * 1000, b"d" * 5000)

    with pytest.raises(MessageTooLarge) as raised:
        queue.push(Message(payload, None, ()), queue="store")

    assert (raised.value.size, raised.value.limit) == (len(payload), 1000)
    assert list(tmp_path.iterdir()) == []


def test_what_a_connection_does_not_take_is_told_to_the_byte() -> None:
    settings = read_settings({"driver": "kafka", "max_message_bytes": 1000}, where=str)
    queue = KafkaQueue("kafka", settings, address=lambda: None)

    with pytest.raises(MessageTooLarge, match="A message of 1,003 bytes") as raised:
        queue.push(Message(b"x" * 1000, b"key", ()), queue="store")

    assert (raised.value.size, raised.value.limit) == (1003, 1000)


def test_what_no_worker_reads_is_not_put_aside(claims: ClaimCheck, tmp_path: Path) -> None:
    with pytest.raises(MessageTooLarge) as raised:
        claims.fit(Message(b'{"job":"x","data":"%s"}' % (b"d" * MAX_BYTES), None, ()), "store")

    assert (raised.value.size, raised.value.limit) == (MAX_BYTES + 21, MAX_BYTES)
    assert list(tmp_path.iterdir()) == []


# reading and settling ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payload_whose_job_is_begun_is_young_again_so_that_it_is_there_when_the_job_fails(
    claims: ClaimCheck, tmp_path: Path
) -> None:
    [delivery] = deliveries(claimed(claims))
    [file] = tmp_path.iterdir()
    os.utime(file, (0, 0))

    claims.read(delivery)

    assert FileClaims(tmp_path).prune(hours=1, kept=lambda: ()) == Pruned(0, 0)


def test_a_job_that_is_put_back_finds_its_payload_however_old_that_is(claims: ClaimCheck, tmp_path: Path) -> None:
    message = claimed(claims)
    [file] = tmp_path.iterdir()
    os.utime(file, (0, 0))

    claims.fit(Message(message.payload[:90], message.key, message.headers), "store")

    assert FileClaims(tmp_path).prune(hours=1, kept=lambda: ()) == Pruned(0, 0)


def test_a_record_that_comes_again_is_known_as_done_before_its_offset_is_committed(claims: ClaimCheck) -> None:
    message = claimed(claims)
    first, again = deliveries(message, message)
    payload = claims.read(first)

    first.delete()

    assert payload == PAYLOAD
    assert first.partition.position == 0
    with pytest.raises(AlreadyDone):
        claims.read(again)


def test_what_is_done_is_said_also_when_the_partition_was_lost(claims: ClaimCheck) -> None:
    message = claimed(claims)
    [before] = deliveries(message)
    claims.read(before)
    before.partition.is_open, before.partition.lost = False, True

    before.delete()

    with pytest.raises(AlreadyDone):
        claims.read(deliveries(message)[0])


def retry(delivery: KafkaDelivery) -> None:
    """It is to be tried again."""
    delivery.release(1)


def fail(delivery: KafkaDelivery) -> None:
    """It has failed for good."""
    delivery.fail(RuntimeError("boom"))


@pytest.mark.parametrize("settle", [retry, fail])
def test_a_job_that_is_not_done_keeps_its_payload(claims: ClaimCheck, settle: Callable[[KafkaDelivery], None]) -> None:
    message = claimed(claims)
    [delivery] = deliveries(message)
    claims.read(delivery)

    settle(delivery)
    claims.give_back()

    assert claims.read(deliveries(message)[0]) == PAYLOAD


def test_a_job_whose_payload_is_gone_and_that_fails_of_it_is_not_done(claims: ClaimCheck, tmp_path: Path) -> None:
    [delivery] = deliveries(claimed(claims))
    [file] = tmp_path.iterdir()
    file.unlink()
    with pytest.raises(ClaimLost):
        claims.read(delivery)

    fail(delivery)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("group", "queue", "key"), [("other", "store", b"k"), ("g", "other", b"k"), ("g", "store", b"other")]
)
def test_a_job_that_somebody_has_sent_with_the_payload_of_another_is_not_passed_over(
    claims: ClaimCheck, tmp_path: Path, group: str, queue: str, key: bytes
) -> None:
    message = claimed(claims)
    [delivery] = deliveries(message)
    claims.read(delivery)
    others = ClaimCheck(FileClaims(tmp_path), group=group, above=100, limit=1000)

    delivery.delete()

    with pytest.raises(ClaimLost):
        others.read(deliveries(Message(message.payload, key, message.headers), queue=queue)[0])


def test_the_disk_is_waited_for_once_for_many_jobs(
    claims: ClaimCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = deliveries(*[claimed(claims, key=b"%d" % n) for n in range(TOGETHER + 1)])
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    for delivery in waiting:
        claims.read(delivery)
        delivery.delete()

    assert len(synced) == 1
    assert files(tmp_path) == [(".done", 0)] * TOGETHER + [(".done", 300)]
    claims.give_back()
    assert files(tmp_path) == [(".done", 0)] * (TOGETHER + 1)


def test_few_large_payloads_wait_for_their_end(claims: ClaimCheck, tmp_path: Path) -> None:
    large = b'{"job":"x","data":"%s"}' % (b"d" * (MAX_BYTES - 100))
    messages = [claims.fit(Message(large, None, ()), "store") for _ in range(3)]

    for delivery in deliveries(*messages):
        claims.read(delivery)
        delivery.delete()

    assert files(tmp_path) == [(".done", 0)] * 3


def test_a_folder_that_can_not_be_written_is_told_once_and_the_jobs_are_finished(
    claims: ClaimCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = deliveries(*[claimed(claims, key=b"%d" % n) for n in range(3)])
    for delivery in waiting:
        claims.read(delivery)

    def refuse(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(Path, "rename", refuse)
    with caplog.at_level(logging.WARNING):
        for delivery in waiting:
            delivery.delete()

    assert waiting[0].partition.tracker.left == 0
    assert [record.__dict__["reason"] for record in caplog.records] == ["read-only"]
    assert files(tmp_path) == [(".claim", 300)] * 3


def test_space_that_can_not_be_given_back_is_told_once_while_jobs_go_on(
    claims: ClaimCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = deliveries(*[claimed(claims, key=b"%d" % n) for n in range(4)])
    for delivery in waiting:
        claims.read(delivery)

    def refuse(handle: int) -> None:
        raise OSError("no disk")

    with caplog.at_level(logging.WARNING), monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        for delivery in waiting[:2]:
            delivery.delete()
            claims.give_back()
    with caplog.at_level(logging.WARNING):
        waiting[2].delete()
        claims.give_back()
        monkeypatch.setattr(os, "fsync", refuse)
        waiting[3].delete()
        claims.give_back()

    assert [record.__dict__["reason"] for record in caplog.records] == ["no disk"] * 2
    assert files(tmp_path) == [(".done", 0), *[(".done", 300)] * 3]


def test_what_one_job_costs_does_not_grow_with_the_jobs_that_wait(claims: ClaimCheck) -> None:
    def calls_beside(many: int) -> int:
        waiting = deliveries(*[claimed(claims, key=b"%d" % n) for n in range(many + 2)])
        for delivery in waiting[:-2]:
            claims.read(delivery)
        waiting[-2].delete()  # what the first one costs more than others, such as a branch taken once
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            claims.read(waiting[-1])
            waiting[-1].delete()
            claims.give_back()
        finally:
            sys.setprofile(None)
        return calls

    assert calls_beside(1) == calls_beside(200)
