"""What is fetched, and what is not, for now."""

from dataclasses import dataclass, field
from typing import Any

from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.polling.flow_control import Flow


@dataclass
class Consumer:
    """A client that remembers what it was told to leave alone."""

    paused: set[str] = field(default_factory=set)

    def pause(self, places: list[Any]) -> None:
        """Leave these alone."""
        self.paused |= {place.topic for place in places}

    def resume(self, places: list[Any]) -> None:
        """Go on with these."""
        self.paused -= {place.topic for place in places}


def test_what_is_paused_is_not_fetched_until_it_goes_on() -> None:
    consumer: Any = Consumer()
    flow = Flow(["a", "b"], prefetch=10, prefetch_bytes=1000)
    partitions = [Partition("kafka", topic, 0, offset=0, metadata=None) for topic in "ab"]

    flow.regulate(consumer, partitions, 0.0, paused={"a"})
    paused = set(consumer.paused)
    flow.regulate(consumer, partitions, 0.1)

    assert (paused, consumer.paused) == ({"a"}, set())


def test_a_consumer_with_all_its_topics_paused_is_not_full() -> None:
    consumer: Any = Consumer()
    flow = Flow(["a"], prefetch=10, prefetch_bytes=1000)

    flow.regulate(consumer, [Partition("kafka", "a", 0, offset=0, metadata=None)], 1.0, paused={"a"})

    assert not flow.is_full
