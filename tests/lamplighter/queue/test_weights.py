"""What `--queue` may name, and the shares of queues that have weights."""

import pytest

from lamplighter.errors import ConfigError
from lamplighter.queue.weights import has_weights, parse_weights, queue_of


@pytest.mark.parametrize(("name", "queue"), [("high:8", "high"), ("high", "high"), ("a:b", "a:b"), ("a:b:2", "a:b")])
def test_a_queue_is_known_whatever_its_weight(name: str, queue: str) -> None:
    assert queue_of(name) == queue
    assert has_weights(["low", name]) is (name != queue)


@pytest.mark.parametrize("name", ["high:0", "high:-1", "high:1.5", "high:", ":5", ":", "low", "low:3"])
def test_a_weight_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"--queue has '{name}': .* a whole number from 1"):
        parse_weights(["low:3", name])


def test_queues_without_a_weight_beside_others_have_eight_times_that_of_the_next() -> None:
    assert parse_weights(["a", "b:3", "c:d", "e"]) == {"a": 512, "b": 3, "c:d": 8, "e": 1}
