"""What is told about messages that a topic refuses."""

import pytest

from lamplighter.kafka.producing import limits
from lamplighter.kafka.producing.limits import TopicLimits


@pytest.mark.parametrize(("answer", "told"), [(2000, "which is 2,000 bytes: too large"), (None, "takes: too large")])
def test_brokers_are_asked_once_for_many_messages(
    monkeypatch: pytest.MonkeyPatch, answer: int | None, told: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(limits, "_ask", lambda config, topic: (asked.append(topic), answer)[1])  # type: ignore[func-returns-value]
    topics = TopicLimits()

    texts = [topics.too_large_text({}, topic, "too large") for topic in ("store", "store", "other", "store")]

    assert asked == ["store", "other"]
    assert all(told in text for text in texts)
