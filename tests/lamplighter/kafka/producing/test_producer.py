"""What is on its way to the brokers, and how it is waited for."""

import threading

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.producing.producer import KafkaProducer


def test_a_close_takes_the_reports_of_what_nobody_has_waited_for(broker: EmbeddedBroker) -> None:
    producer = KafkaProducer({"bootstrap.servers": broker.address()}, timeout=10)
    told: list[object] = []
    producer.send_soon("store", Message(b"1", None, ()), 0, lambda error, _: told.append(error))

    closing = threading.Thread(target=lambda: told.append(producer.close(timeout=10)), daemon=True)
    closing.start()
    closing.join(20)

    assert (told, producer.ahead) == ([None, True], 0)


@pytest.mark.parametrize(
    ("topic", "header", "told"),
    [
        ("a\0b", "trace", "No topic is called"),
        ("\ud800", "trace", "No topic is called"),
        ("store", "\ud800", "header"),
        ("store", "a\0b", "header"),
    ],
)
def test_a_name_that_can_not_be_sent_is_an_error_of_ours(
    broker: EmbeddedBroker, topic: str, header: str, told: str
) -> None:
    producer = KafkaProducer({"bootstrap.servers": broker.address()}, timeout=10)
    message = Message(b"1", None, [(header, b"1")])

    with pytest.raises(QueueError, match=told):
        producer.send_soon(topic, message, 0, lambda error, _: None)

    assert (producer.close(timeout=10), producer.ahead) == (True, 0)
