"""The keys of a connection with `driver: sqs`."""

from typing import Any

import pytest

from lamplighter.container import Container
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.catalogue import connector
from lamplighter.queue.drivers.sqs import connect as connect_sqs

LUMEN = {
    "driver": "sqs",
    "key": "your-public-key",
    "secret": "your-secret-key",
    "prefix": "https://sqs.us-east-1.amazonaws.com/your-account-id",
    "queue": "your-queue-name",
    "region": "us-east-1",
}


def connect(**options: Any) -> Any:
    """A connection, which is not made before it is used."""
    return connect_sqs(Container(), "amazon", {**LUMEN, **options})  # type: ignore[arg-type]


def test_the_keys_of_lumen_are_enough() -> None:
    queue = connect()

    assert (queue.connection, queue.default_queue) == ("amazon", "your-queue-name")


def test_the_keys_of_laravel_are_known() -> None:
    assert connect(suffix=None, token="t", endpoint=None).connection == "amazon"


@pytest.mark.parametrize(("key", "value"), [("retry_after", 0), ("retry_after", 43_201), ("block_for", 21)])
def test_a_time_that_sqs_does_not_know_is_refused(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"connections\.amazon\) has {value} for the key '{key}'"):
        connect(**{key: value})


@pytest.mark.parametrize(
    ("retry_after", "block_for", "seconds"), [(90, 10, 10), (90, 20, 20), (30, 20, 10), (4, 20, 1), (2, 20, 0)]
)
def test_a_long_poll_leaves_time_for_renewals_of_the_lease(retry_after: int, block_for: int, seconds: int) -> None:
    queue = connect(retry_after=retry_after, block_for=block_for)

    assert queue._store.poll_for == seconds


def test_a_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.queue.drivers.catalogue.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"needs boto3.*pip install 'lamplighter\[sqs\]'"):
        connector("sqs")(Container(), "amazon", LUMEN)  # type: ignore[arg-type]
