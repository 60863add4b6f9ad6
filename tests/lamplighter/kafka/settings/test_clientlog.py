"""What is logged of brokers that are away, by us and by librdkafka."""

import logging
import time
from collections.abc import Iterator

import pytest

from lamplighter.kafka.settings.clientlog import client_logger, tell_outage

REFUSED = (
    "FAIL [lamplighter#consumer-3] [thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: "
    "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 1ms in state CONNECT)"
)
SESSION = "SESSTMOUT [lamplighter#consumer-4] [thrd:main]: Consumer group session timed out after 3004 ms"


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of what is tested."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def librdkafka() -> Iterator[logging.Logger]:
    """The clients' logger, which has told nothing yet."""
    logger = logging.getLogger("lamplighter.kafka.librdkafka")
    before, logger.filters = logger.filters, []
    yield client_logger()
    logger.filters = before


def test_an_outage_is_one_line_every_ten_seconds_with_its_reason_and_what_to_do(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(300):
        librdkafka.error(REFUSED)
        if clock.now >= 100_001:
            tell_outage("127.0.0.1:1", "1/1 brokers are down")
            tell_outage("127.0.0.1:1", "Failed to get metadata")
        librdkafka.warning(SESSION)
        clock.now += 0.1

    assert [(record.message, record.levelname) for record in caplog.records] == [
        ("brokers can't be reached; waiting", "WARNING")
    ] * 3
    fields = vars(caplog.records[0])
    assert fields["brokers"] == "127.0.0.1:1"
    assert fields["reason"] == "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused"
    assert "KAFKA_BROKERS" in fields["advice"]


def test_without_a_word_of_librdkafka_the_error_is_the_reason(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    librdkafka.error(REFUSED)
    clock.now += 60
    tell_outage("a:9092", "timed out")

    assert [vars(record)["reason"] for record in caplog.records] == ["timed out"]


def test_two_clusters_are_told_apart(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        tell_outage("a:9092", "away")
        tell_outage("b:9092", "away")

    assert [vars(record)["brokers"] for record in caplog.records] == ["a:9092", "b:9092"]


def test_one_broker_that_stays_away_while_others_answer_is_told(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(300):
        librdkafka.error(REFUSED)
        clock.now += 0.1

    assert [record.message for record in caplog.records] == [REFUSED] * 2


def test_a_connection_that_was_closed_once_is_not_told(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        librdkafka.error(REFUSED)
        clock.now += 600

    assert caplog.records == []


def test_what_has_nothing_to_do_with_connections_passes_seldom(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    tell_outage("a:9092", "away")
    for _ in range(3):
        librdkafka.warning("FATAL [x] [thrd:main]: fenced")

    assert [record.message for record in caplog.records][1:] == ["FATAL [x] [thrd:main]: fenced"]


def test_a_session_that_ended_without_an_outage_is_told(
    clock: Clock, librdkafka: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    librdkafka.warning(SESSION)

    assert [record.message for record in caplog.records] == [SESSION]
