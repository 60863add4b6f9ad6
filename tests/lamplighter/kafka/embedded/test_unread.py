"""What the embedded broker knows of what nobody has read."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.cluster import MockCluster, bundled_library
from lamplighter.kafka.embedded.topics import TopicReaders, decode, merged
from lamplighter.kafka.embedded.unread import UnreadRecords
from lamplighter.kafka.monitoring import brokers as brokers_module


class Served:
    """A broker in this process."""

    def __init__(self) -> None:
        self._cluster = MockCluster(bundled_library())
        self.address = self._cluster.address
        self.readers = TopicReaders()
        self.records = UnreadRecords(self.address, lambda: self.readers)
        self._producer = Producer({"bootstrap.servers": self.address, "log_level": 0})

    def push(self, topic: str, count: int = 1, *, partition: int = 0, size: int = 1) -> None:
        """Put records into one partition, each in a set of its own."""
        for _ in range(count):
            self._producer.produce(topic, b"x" * size, partition=partition)
            assert self._producer.flush(10) == 0

    def commit(self, group: str, topic: str, offset: int, *, partition: int = 0) -> None:
        """Have a group read up to an offset."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 0})
        consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
        consumer.close()


@pytest.fixture(scope="module")
def shared() -> Served:
    """One for those whose topics are their own."""
    return Served()


def test_a_fresh_broker_holds_nothing() -> None:
    assert Served().records.count() == {}


def test_what_a_group_has_not_committed_is_unread(shared: Served) -> None:
    shared.push("store", 3)
    shared.push("store", 2, partition=1)
    shared.readers = TopicReaders(groups={"store": ["workers"]})
    before = shared.records.count()["store"]
    shared.commit("workers", "store", 2)
    during = shared.records.count()["store"]
    shared.commit("workers", "store", 3)
    shared.commit("workers", "store", 2, partition=1)

    assert (before, during) == (5, 3)
    assert "store" not in shared.records.count()


def test_each_group_that_reads_a_topic_has_to_have_read_it(shared: Served) -> None:
    shared.push("twice", 3)
    shared.readers = TopicReaders(groups={"twice": ["workers", "auditors"]})
    shared.commit("workers", "twice", 3)
    shared.commit("auditors", "twice", 1)

    assert shared.records.count()["twice"] == 2


def test_a_delayed_job_is_unread_until_it_was_moved(shared: Served) -> None:
    shared.push("workers.delay.60")
    shared.readers = TopicReaders(groups={"workers.delay.60": ["workers.delays"]}, others=["workers"])
    before = shared.records.count()["workers.delay.60"]
    shared.commit("workers.delays", "workers.delay.60", 1)

    assert before == 1
    assert "workers.delay.60" not in shared.records.count()


def test_a_topic_that_nobody_here_reads_holds_nothing(shared: Served) -> None:
    shared.push("api")
    shared.readers = TopicReaders(written=["api"], others=["workers"])

    assert "api" not in shared.records.count()


def test_a_topic_that_is_the_only_record_of_failed_jobs_holds_all(shared: Served) -> None:
    shared.push("letters", 2)
    shared.readers = TopicReaders(kept=["letters"], others=["workers"])
    shared.commit("workers", "letters", 2)

    assert shared.records.count()["letters"] == 2


def test_any_other_topic_is_read_by_whoever_has_begun_it(shared: Served) -> None:
    shared.push("other", 3)
    shared.readers = TopicReaders(others=["workers", "auditors"])
    before = shared.records.count()["other"]
    shared.commit("auditors", "other", 2)
    during = shared.records.count()["other"]
    shared.commit("auditors", "other", 3)

    assert (before, during) == (3, 1)
    assert "other" not in shared.records.count()


def test_without_a_word_of_who_reads_nothing_is_given_away(shared: Served) -> None:
    shared.push("unknown", 2)
    shared.readers = TopicReaders()

    assert shared.records.count()["unknown"] == 2


def test_what_the_broker_has_dropped_is_not_counted() -> None:
    served = Served()
    served.push("api", 8, size=900_000)

    assert 0 < served.records.count()["api"] < 8


def test_counting_makes_no_topic(shared: Served) -> None:
    shared.readers = TopicReaders(groups={"absent": ["workers"]}, written=["missing"], kept=["gone"])
    shared.records.count()

    consumer = Consumer({"bootstrap.servers": shared.address, "group.id": "look", "log_level": 0})
    topics = set(consumer.list_topics(timeout=10).topics)
    consumer.close()

    assert topics.isdisjoint({"absent", "missing", "gone"})


def test_a_broker_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers_module, "TIMEOUT", 0.2)

    with pytest.raises(BrokerUnavailable, match="can't be reached"):
        UnreadRecords("127.0.0.1:1", TopicReaders).count()


def test_configurations_are_taken_together() -> None:
    first = TopicReaders(groups={"store": ["a"]}, others=["a"], written=["api"])
    second = TopicReaders(groups={"store": ["b"], "api": ["b"]}, others=["b"], kept=["letters"])

    both = merged([decode(first.encode()), decode(second.encode())])

    assert both.groups == {"store": ["a", "b"], "api": ["b"]}
    assert (both.others, both.written, both.kept) == (["a", "b"], ["api"], ["letters"])
    assert both.every_group() == ["a", "b"]
    assert both.groups_of("api", begun=[]) == ["b"]


@pytest.mark.parametrize("data", [b"", b"nonsense", b"[]", b'{"groups": {"store": 1}}', b'{"others": null}', b"\xff"])
def test_what_does_not_say_who_reads_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # msgspec's, and Python's for bytes that are no text
        decode(data)
