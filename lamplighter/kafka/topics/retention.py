"""How long topics keep what is in them."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from lamplighter.kafka.settings.native import AdminClient, ConfigResource, KafkaException, ResourceType
from lamplighter.support.forking import watch

TIMEOUT = 2.0  # seconds for the brokers' answer: whoever dispatches waits for it
ASK_AGAIN = 60.0  # seconds until brokers are asked again


class Retention:
    """Asks for each topic once in a process, and not often where the answer does not come, or has to be a no."""

    def __init__(
        self, config: Callable[[], Mapping[str, Any]], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._known: dict[str, float | None] = {}
        self._again_at: dict[str, float] = {}
        self._away_until = 0.0
        self._asking = threading.Lock()
        watch(self, in_child=Retention._begin_as_child, locks=lambda retention: (retention._asking,))

    def __call__(self, topic: str, wait: float) -> float | None:
        """Seconds; None where it keeps all, where it is missing, and where we may not ask.

        One that is too short for a wait may have been raised meanwhile.
        """
        if self._is_enough(topic, wait):
            return self._known[topic]
        with self._asking:  # without an answer a wait counts as short enough, so that no thread goes on before it
            now = self._monotonic()
            is_asked = now < max(self._away_until, self._again_at.get(topic, 0.0))
            if not is_asked and not self._is_enough(topic, wait):
                self._again_at[topic] = now + ASK_AGAIN
                try:
                    self._known[topic] = self._ask(topic)
                except (KafkaException, FutureTimeout, KeyError):
                    self._away_until = now + ASK_AGAIN
            return self._known.get(topic)

    def _is_enough(self, topic: str, wait: float) -> bool:
        known = self._known.get(topic)
        return topic in self._known and (known is None or wait < known)

    def _begin_as_child(self) -> None:
        self._asking = threading.Lock()

    def _ask(self, topic: str) -> float | None:
        admin = AdminClient({**self._config(), "log_level": 0})
        resource = ConfigResource(ResourceType.TOPIC, topic)
        future = admin.describe_configs([resource], request_timeout=TIMEOUT)[resource]
        milliseconds = int(future.result(TIMEOUT)["retention.ms"].value)
        return None if milliseconds < 0 else milliseconds / 1000
