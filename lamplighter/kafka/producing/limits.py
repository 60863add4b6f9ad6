"""What a topic takes, asked for when it has refused a message."""

import time
from collections.abc import Mapping
from typing import Any

from lamplighter.kafka.settings.native import AdminClient, ConfigResource, KafkaException, ResourceType

TIMEOUT = 2.0  # seconds; a text may be without its number
ASK_AGAIN = 60.0  # seconds until brokers are asked again: reports are taken by threads that must not wait for each
MOST_TOPICS = 1_000  # that are remembered: their names may come from records


class TopicLimits:
    """The largest message of each topic, for what is told about one that was larger."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, int | None]] = {}

    def too_large_text(self, config: Mapping[str, Any], topic: str, reason: str) -> str:
        """What to do about a message that the topic refused, with the limit where the brokers tell it."""
        limit = self._limit(config, topic)
        takes = "" if limit is None else f", which is {limit:,} bytes"
        return (
            f"A message is larger than the topic {topic} takes{takes}: {reason}. Raise the topic's max.message.bytes, "
            f"or lower max_message_bytes and claim_above of the connection, so that it is not sent."
        )

    def _limit(self, config: Mapping[str, Any], topic: str) -> int | None:
        known = self._known.get(topic)
        if known is None or time.monotonic() >= known[0]:
            limit = _ask(config, topic)
            if len(self._known) >= MOST_TOPICS:
                self._known.clear()
            known = self._known[topic] = time.monotonic() + ASK_AGAIN, limit
        return known[1]


def too_large_to_send_text(config: Mapping[str, Any], topic: str) -> str:
    """What to do about a message that the client itself did not send."""
    return (
        f"A message for {topic} is too large with its headers: the connection sends "
        f"{int(config['message.max.bytes']):,} bytes (max_message_bytes). Make it smaller, or give the connection a "
        f"claim_check."
    )


def _ask(config: Mapping[str, Any], topic: str) -> int | None:
    try:
        admin = AdminClient({**config, "log_level": 0})
        wanted = ConfigResource(ResourceType.TOPIC, topic)
        for future in admin.describe_configs([wanted], request_timeout=TIMEOUT).values():
            return int(future.result(TIMEOUT + 1)["max.message.bytes"].value)
    except (KafkaException, KeyError, TypeError, ValueError, TimeoutError):
        return None
    return None
