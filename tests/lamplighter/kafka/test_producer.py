"""What is on its way to the brokers, and how it is waited for."""

import threading

from lamplighter.contracts import Message
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.producer import KafkaProducer


def test_a_close_takes_the_reports_of_what_nobody_has_waited_for(broker: EmbeddedBroker) -> None:
    producer = KafkaProducer({"bootstrap.servers": broker.address()}, timeout=10)
    told: list[object] = []
    producer.send_soon("store", Message(b"1", None, ()), 0, lambda error, _: told.append(error))

    closing = threading.Thread(target=lambda: told.append(producer.close(timeout=10)), daemon=True)
    closing.start()
    closing.join(20)

    assert (told, producer.ahead) == ([None, True], 0)
