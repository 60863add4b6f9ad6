"""How long topics keep what is in them."""

import time
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
ASK_AGAIN = 60.0  # seconds until brokers that gave none are asked again


class Retention:
    """Asks for each topic once in a process, and not often where the answer does not come."""

    def __init__(self, config: Callable[[], Mapping[str, Any]]) -> None:
        self._config = config
        self._known: dict[str, float | None] = {}
        self._ask_at = 0.0

    def __call__(self, topic: str) -> float | None:
        """Seconds; None where it keeps all, where it is missing, and where we may not ask."""
        if topic in self._known:
            return self._known[topic]
        if time.monotonic() < self._ask_at:
            return None
        try:
            found = self._known[topic] = self._ask(topic)
        except (KafkaException, FutureTimeout, KeyError):
            self._ask_at = time.monotonic() + ASK_AGAIN
            return None
        return found

    def _ask(self, topic: str) -> float | None:
        admin = AdminClient({**self._config(), "log_level": 0})
        resource = ConfigResource(ResourceType.TOPIC, topic)
        future = admin.describe_configs([resource], request_timeout=TIMEOUT)[resource]
        milliseconds = int(future.result(TIMEOUT + 1)["retention.ms"].value)
        return None if milliseconds < 0 else milliseconds / 1000
