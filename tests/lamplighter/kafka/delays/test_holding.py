"""The time of a row, when several threads need the brokers' clock first."""

import time
from typing import cast

import pytest

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
        clock.learn(time.time() + 3600)
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
