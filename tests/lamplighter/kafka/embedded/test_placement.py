"""What keeps the embedded broker from dropping jobs that nobody has read."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, EmbeddedBrokerFull, QueueError
from lamplighter.kafka.embedded import unread_sizes as unread_module
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.partitioner import partition_for
from lamplighter.kafka.embedded.placement import LIMIT, Placement
from lamplighter.kafka.embedded.pushes import ARRIVAL, LargePushes
from lamplighter.kafka.embedded.unread_sizes import size_of

FORK = """
import os, sys
from pathlib import Path
from lamplighter.contracts import Message
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.kafka.embedded.placement import Placement

config, pushes = {"bootstrap.servers": sys.argv[1]}, LargePushes(Path(sys.argv[2]))
placement = Placement(config, {"store": ["workers"]}, group="workers", written=(), pushes=pushes)
parent = placement.place("store", Message(b"x", b"key"))
if os.fork() == 0:
    os._exit(0 if placement.place("store", Message(b"x" * 100_000, b"key")) == parent else 1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
KEY = b"one partition"
NUMBER = partition_for(KEY, 4)
GROUPS = {"store": ("workers",)}


@pytest.fixture
def address(broker: EmbeddedBroker) -> str:
    """Where a fresh broker is."""
    return broker.address()


@pytest.fixture
def placement(address: str, tmp_path: Path) -> Placement:
    """What places the pushes of a process whose group `workers` reads `store`."""
    return placement_of(address, tmp_path)


def placement_of(address: str, folder: Path, groups: Mapping[str, Sequence[str]] = GROUPS) -> Placement:
    config = {"bootstrap.servers": address}
    return Placement(config, groups, group="workers", written=["api"], pushes=LargePushes(folder))


def producer_of(address: str, **settings: int) -> Producer:
    return Producer(
        {"bootstrap.servers": address, "partitioner": "murmur2_random", "linger.ms": 0, "log_level": 0, **settings}
    )


@contextmanager
def client(address: str) -> Iterator[Consumer]:
    """A client in the name of the group, which commits and asks, and reads nothing."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "workers", "log_level": 0})
    try:
        yield consumer
    finally:
        consumer.close()


def kept(address: str, topic: str = "store") -> tuple[int, int]:
    """The first offset that the broker still has, and the end."""
    with client(address) as consumer:
        consumer.list_topics(topic, timeout=10)
        return consumer.get_watermark_offsets(TopicPartition(topic, NUMBER), timeout=10)


def push_until_full(
    placement: Placement, producer: Producer, size: int, *, wait: bool = True, topic: str = "store"
) -> int:
    """Push messages into one partition until it is refused; how many it took."""
    message = Message(b"x" * size, KEY)
    for count in range(100_000):
        try:
            number = placement.place(topic, message)
        except EmbeddedBrokerFull:
            producer.flush(10)
            return count
        producer.produce(topic, message.payload, message.key, number)
        if wait:
            producer.flush(10)
    raise AssertionError("it never refused")


def test_keys_go_where_librdkafka_would_send_them(address: str) -> None:
    keys = [bytes([n % 256]) * (n % 23) for n in range(300)]
    chosen: dict[bytes, int | None] = {}
    producer = producer_of(address)

    def note(_: object, message: KafkaMessage) -> None:
        chosen[message.key() or b""] = message.partition()

    for key in keys:
        producer.produce("store", b"", key, on_delivery=note)
    producer.flush(10)

    assert {key: partition_for(key, 4) for key in keys} == chosen


def test_the_first_push_to_a_fresh_broker_knows_all_partitions(placement: Placement) -> None:
    numbers = {placement.place("store", Message(b"x", key)) for key in (b"a", b"b", b"c", b"d", b"e", b"f", b"g")}

    assert numbers == {partition_for(key, 4) for key in (b"a", b"b", b"c", b"d", b"e", b"f", b"g")}
    assert len(numbers) > 1


def test_messages_without_a_key_take_turns(placement: Placement) -> None:
    numbers = [placement.place("store", Message(b"x")) for _ in range(8)]

    assert sorted(numbers) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("size", [100, 3_000, 100_000, 900_000])
def test_it_refuses_before_the_broker_drops_anything(placement: Placement, address: str, size: int) -> None:
    count = push_until_full(placement, producer_of(address), size, wait=size > 1000)

    assert kept(address) == (0, count)
    each = size_of(b"x" * size, KEY, ())
    assert LIMIT - each < count * each <= LIMIT


def test_it_refuses_in_time_when_many_travel_in_one_batch(placement: Placement, address: str) -> None:
    producer = producer_of(address, **{"linger.ms": 50})

    count = push_until_full(placement, producer, 1_000, wait=False)

    assert kept(address) == (0, count)


def test_a_batch_that_is_read_in_part_is_not_dropped(placement: Placement, address: str) -> None:
    producer = producer_of(address, **{"linger.ms": 50})
    count = push_until_full(placement, producer, 1_000, wait=False)
    with client(address) as consumer:
        consumer.commit(offsets=[TopicPartition("store", NUMBER, count // 2)], asynchronous=False)

    push_until_full(placement, producer, 1_000, wait=False)

    assert kept(address)[0] <= count // 2


def test_the_refusal_says_who_has_to_read_and_what_to_do(placement: Placement, address: str) -> None:
    push_until_full(placement, producer_of(address), 900_000)

    with pytest.raises(EmbeddedBrokerFull, match=r"'workers' has not read .* Start a worker .*, or set KAFKA_BROKERS"):
        placement.place("store", Message(b"x" * 900_000, KEY))


def test_what_is_read_makes_room_again(placement: Placement, address: str) -> None:
    count = push_until_full(placement, producer_of(address), 100_000)
    with client(address) as consumer:
        consumer.commit(offsets=[TopicPartition("store", NUMBER, count // 2)], asynchronous=False)

    more = push_until_full(placement, producer_of(address), 100_000)

    assert more in range(count // 2 - 1, count // 2 + 2)
    assert kept(address)[0] <= count // 2


def test_what_other_processes_have_pushed_counts(placement: Placement, address: str) -> None:
    other = producer_of(address)
    for _ in range(36):
        other.produce("store", b"x" * 100_000, KEY, NUMBER)
    other.flush(10)

    count = push_until_full(placement, producer_of(address), 100_000)

    assert count == 0


def test_what_other_processes_push_beside_us_counts(placement: Placement, address: str) -> None:
    ours, others = producer_of(address), producer_of(address)
    count = 0

    with suppress(EmbeddedBrokerFull):
        while count < 1000:
            ours.produce("store", b"x" * 10_000, KEY, placement.place("store", Message(b"x" * 10_000, KEY)))
            others.produce("store", b"x" * 30_000, KEY, NUMBER)
            ours.flush(10)
            others.flush(10)
            count += 1

    assert kept(address)[0] == 0
    assert 80 < count < 100


def test_large_messages_that_many_processes_push_at_once_count(address: str, tmp_path: Path) -> None:
    message = Message(b"x" * 900_000, KEY)
    placements = [placement_of(address, tmp_path) for _ in range(6)]
    for placement in placements:
        placement.place("store", Message(b"x", KEY))
    start = threading.Barrier(len(placements))

    def push(placement: Placement) -> None:
        producer = producer_of(address)
        start.wait()
        with suppress(EmbeddedBrokerFull):
            producer.produce("store", message.payload, KEY, placement.place("store", message))
            producer.flush(10)

    threads = [threading.Thread(target=push, args=(placement,)) for placement in placements]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert kept(address) == (0, 4)


def test_each_group_that_reads_a_topic_has_its_jobs_kept(address: str, tmp_path: Path) -> None:
    placement = placement_of(address, tmp_path, {"store": ("workers", "auditors")})
    count = push_until_full(placement, producer_of(address), 500_000)
    with client(address) as consumer:
        consumer.commit(offsets=[TopicPartition("store", NUMBER, count)], asynchronous=False)

    with pytest.raises(EmbeddedBrokerFull, match="the group 'auditors' has not read"):
        placement.place("store", Message(b"x" * 500_000, KEY))


def test_large_headers_count(placement: Placement) -> None:
    with pytest.raises(EmbeddedBrokerFull):
        placement.place("store", Message(b"x", KEY, (("trace", b"x" * LIMIT),)))


def test_what_was_never_pushed_after_all_is_forgotten(placement: Placement) -> None:
    for _ in range(4):
        placement.place("store", Message(b"x" * 900_000, KEY))
    began = time.monotonic()

    number = placement.place("store", Message(b"x" * 900_000, KEY))

    assert number == NUMBER
    assert time.monotonic() - began < ARRIVAL + 2


def test_a_topic_that_a_worker_may_be_told_to_read_loses_nothing(placement: Placement, address: str) -> None:
    count = push_until_full(placement, producer_of(address), 100_000, topic="letters")

    assert kept(address, "letters") == (0, count)
    with pytest.raises(EmbeddedBrokerFull, match=r"queue:work --queue=letters.*the connection's topics"):
        placement.place("letters", Message(b"x" * 100_000, KEY))


def test_a_topic_that_no_group_reads_loses_its_oldest(placement: Placement, address: str) -> None:
    producer = producer_of(address)

    for _ in range(60):
        producer.produce("api", b"x" * 100_000, KEY, placement.place("api", Message(b"x" * 100_000, KEY)))
        producer.flush(10)

    low, high = kept(address, "api")
    assert (low > 0, high) == (True, 60)


def test_looking_moves_no_offset_of_the_group(placement: Placement, address: str) -> None:
    push_until_full(placement, producer_of(address), 100_000)

    with client(address) as consumer:
        found = consumer.committed([TopicPartition("store", NUMBER)], timeout=10)

    assert found[0].offset < 0


def test_a_broker_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_module, "TIMEOUT", 0.3)
    placement = placement_of("127.0.0.1:1", tmp_path)

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        placement.place("store", Message(b"x"))


def test_a_forked_child_looks_for_itself(address: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, address, tmp_path], timeout=30, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("name", ["\udc80", "a\0b"])
def test_a_name_that_no_topic_can_have_is_named(placement: Placement, name: str) -> None:
    with pytest.raises(QueueError) as refused:
        placement.place(name, Message(b"x", KEY))

    assert repr(name) in str(refused.value)
