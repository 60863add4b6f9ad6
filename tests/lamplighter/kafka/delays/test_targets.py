"""The topics that a record of a delay topic may name."""

from collections.abc import Iterable

import pytest
from confluent_kafka import KafkaError, KafkaException

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.delays import targets as targets_module
from lamplighter.kafka.delays.delayed_message import wrap
from lamplighter.kafka.delays.targets import Targets
from lamplighter.kafka.settings.tiers import SHORT, Tiers
from tests.lamplighter.kafka.records import record_of


def targets(*, makes_topics: bool = False) -> Targets:
    """Those of one connection."""
    tiers, refused = Tiers("shop.delay.", SHORT), ["letters", ""]
    return Targets(tiers, "localhost", default_queue="store", refused=refused, makes_topics=makes_topics)


@pytest.mark.parametrize(
    ("topic", "is_taken"),
    [
        ("orders", True),
        ("shop.delay.2", True),  # not one of ours
        ("other.delay.1", True),
        ("shop.delay.1", False),
        ("shop.delay.1800", False),
        ("letters", False),
        ("__consumer_offsets", False),
    ],
)
def test_topics_that_no_job_belongs_to_are_no_targets(topic: str, is_taken: bool) -> None:
    record = record_of(wrap(Message(b"{}", b"key"), topic, due=1, sent=0), at=0)

    found = targets().read(record)

    assert (found.topic, found.is_ours) == ((topic, True) if is_taken else ("store", False))
    assert list(found.message.headers) == ([] if is_taken else record.headers())


def test_all_topics_are_asked_for_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[list[str]] = [["orders"], ["orders", "late"]]
    found = targets()

    found.check("orders", lambda: looks.pop(0))
    found.check("orders", looks.clear)  # type: ignore[arg-type]  # is not asked
    with pytest.raises(QueueError, match="have no topic late"):
        found.check("late", looks.clear)  # type: ignore[arg-type]
    monkeypatch.setattr(targets_module, "LOOK_AGAIN", 0.0)
    found.check("late", lambda: looks.pop(0))

    assert looks == []


def test_a_topic_that_has_refused_something_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "LOOK_AGAIN", 0.0)
    found = targets()
    found.check("orders", lambda: ["orders"])

    found.forget("orders")

    with pytest.raises(QueueError, match="have no topic orders"):
        found.check("orders", list)


def test_brokers_that_are_away_are_no_missing_topic() -> None:
    def away() -> Iterable[str]:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "gone"))

    found = targets()

    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="gone"):
            found.check("orders", away)


def test_where_topics_come_by_themselves_nobody_is_asked() -> None:
    targets(makes_topics=True).check("orders", list)
