"""The keys of a connection with `driver: beanstalkd`."""

from typing import Any

import pytest

from lamplighter.container import Container
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.beanstalkd import connect as connect_beanstalkd
from lamplighter.queue.drivers.catalogue import connector

LUMEN = {"driver": "beanstalkd", "host": "localhost", "queue": "default", "retry_after": 90}


def connect(**options: Any) -> Any:
    """A connection, which is not made before it is used."""
    return connect_beanstalkd(Container(), "tubes", {**LUMEN, **options})  # type: ignore[arg-type]


def test_the_keys_of_lumen_are_enough() -> None:
    queue = connect()

    assert (queue.connection, queue.default_queue) == ("tubes", "default")


def test_the_keys_of_laravel_are_known() -> None:
    assert connect(port="11301", block_for=None, timeout=5).default_queue == "default"


@pytest.mark.parametrize(
    ("key", "value"), [("retry_after", 0), ("port", 70000), ("block_for", -1), ("priority", 2**32), ("timeout", 0.0)]
)
def test_a_number_that_the_protocol_does_not_know_is_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"connections\.tubes\) has {value} for the key '{key}'"):
        connect(**{key: value})


def test_a_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.queue.drivers.catalogue.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"needs greenstalk.*pip install 'lamplighter\[beanstalkd\]'"):
        connector("beanstalkd")(Container(), "tubes", LUMEN)  # type: ignore[arg-type]
