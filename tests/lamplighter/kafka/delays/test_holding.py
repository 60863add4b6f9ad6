"""The time of a row, when several threads need the brokers' clock first."""

import time
from typing import NoReturn, cast

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.kafka.delays import holding as holding_room
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.holding import Holding, Rows
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.settings import KafkaSettings
from tests.threads import THREADS, at_once


def test_no_thread_goes_by_this_hosts_time_while_the_brokers_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(producer: object, topic: str, clock: BrokerClock) -> bool:
        asked.append(topic)
        time.sleep(0.1)  # as long as other threads need to come here, too
        clock.learn(time.time() + 3600, clock.moment())
        return True

    def producer() -> KafkaProducer:
        return KafkaProducer({"bootstrap.servers": "127.0.0.1:1"}, timeout=1)

    monkeypatch.setattr(holding_room, "ask", ask)
    keeps, rows = (lambda topic, wait: None), (lambda: cast(Rows, None))
    holding = Holding("kafka", KafkaSettings(), BrokerClock(), producer=producer, rows=rows, retention=keeps)
    began = time.time()

    told = at_once(holding.now)

    assert len(asked) == 1
    assert [now > began + 3000 for now in told if isinstance(now, float)] == [True] * THREADS


@pytest.mark.parametrize("name", ["\udc80", "a\0b", "a b"])
def test_no_row_is_made_for_a_queue_that_no_topic_can_be(name: str) -> None:
    def used() -> NoReturn:
        raise AssertionError("neither the table nor a broker is to be asked")

    holding = Holding("kafka", KafkaSettings(), BrokerClock(), producer=used, rows=used, retention=lambda *_: None)

    with pytest.raises(QueueError) as refused:
        holding.put(Message(b"{}"), name, 86_400.0)

    assert repr(name) in str(refused.value)


def test_a_row_is_due_by_a_time_that_the_brokers_have_not_passed() -> None:
    """The dispatcher's question took 0.2 s; by the time that was surely reached then, the row would come early."""
    clock = BrokerClock()
    due: list[float] = []
    sent = clock.moment()
    clock.learn(sent + 1_000_000, sent - 0.2)

    class Kept:
        def put(self, message: Message, queue: str, due_at: float, *, timeout: float) -> str:
            due.append(due_at)
            return ""

    def unused() -> NoReturn:
        raise AssertionError("the clock is fresh")

    holding = Holding("kafka", KafkaSettings(), clock, producer=unused, rows=Kept, retention=lambda *_: None)
    holding.put(Message(b"{}"), "store", 60)

    assert due[0] >= sent + 1_000_000 + 0.2 + 60
