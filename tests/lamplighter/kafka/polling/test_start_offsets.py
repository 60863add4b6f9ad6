"""Where partitions are begun by a group that passes over what is there."""

import threading

from confluent_kafka import OFFSET_END, OFFSET_INVALID, TopicPartition

from lamplighter.contracts import Message
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.polling.start_offsets import read_new_topics, start_of
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.native import Consumer


def test_a_topic_is_new_until_the_group_has_committed_something_of_it(broker: EmbeddedBroker) -> None:
    address = broker.address()
    KafkaProducer({"bootstrap.servers": address}, timeout=10).send("store", [(Message(b"1", None, ()), 0)], bulk=False)
    consumer = Consumer({"bootstrap.servers": address, "group.id": "g"})

    before = read_new_topics(consumer, ["store"], stopping=threading.Event(), alive=lambda: None)
    consumer.commit(offsets=[TopicPartition("store", 0, 1)], asynchronous=False)
    after = read_new_topics(consumer, ["store"], stopping=threading.Event(), alive=lambda: None)

    consumer.close()
    assert list(before) == ["store"]
    assert before["store"] > 1
    assert after == {}


def test_only_what_was_there_for_a_new_group_is_begun_at_its_end() -> None:
    new_topics = {"store": 4}
    left = [
        TopicPartition("store", 3, OFFSET_INVALID),
        TopicPartition("store", 4, OFFSET_INVALID),  # added later
        TopicPartition("store", 0, 17),
        TopicPartition("other", 0, OFFSET_INVALID),
    ]

    begun = [start_of(tp, new_topics).offset for tp in left]

    assert begun == [OFFSET_END, OFFSET_INVALID, OFFSET_INVALID, OFFSET_INVALID]
