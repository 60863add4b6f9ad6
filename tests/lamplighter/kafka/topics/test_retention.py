"""How long topics keep what is in them, asked for by several threads."""

import time

import pytest

from lamplighter.kafka.topics.retention import Retention
from tests.threads import THREADS, at_once


def test_no_thread_goes_on_before_the_first_answer_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(retention: Retention, topic: str) -> float:
        time.sleep(0.1)  # as long as other threads need to come here, too
        asked.append(topic)
        return 10.0

    monkeypatch.setattr(Retention, "_ask", ask)
    retention = Retention(dict)

    told = at_once(lambda: retention("delay.60", 60.0))

    assert (told, asked) == ([10.0] * THREADS, ["delay.60"])
