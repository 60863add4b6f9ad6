"""How long topics keep what is in them."""

from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the stubs name only the client as exported
    AdminClient,
    ConfigResource,
    ResourceType,
)

TIMEOUT = 5.0  # seconds for the brokers' answer


class Retention:
    """Asks for each topic once in a process."""

    def __init__(self, config: Callable[[], Mapping[str, Any]]) -> None:
        self._config = config
        self._known: dict[str, float | None] = {}

    def __call__(self, topic: str) -> float | None:
        """Seconds; None where it keeps all, where it is missing, and where we may not ask."""
        if topic not in self._known:
            self._known[topic] = self._ask(topic)
        return self._known[topic]

    def _ask(self, topic: str) -> float | None:
        admin = AdminClient({**self._config(), "log_level": 0})
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            future = admin.describe_configs([resource], request_timeout=TIMEOUT)[resource]
            value = future.result(TIMEOUT + 1)["retention.ms"].value
        except (KafkaException, FutureTimeout, KeyError):
            return None
        milliseconds = int(value)
        return None if milliseconds < 0 else milliseconds / 1000
