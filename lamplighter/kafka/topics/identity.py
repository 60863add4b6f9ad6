"""Whether a topic is still the one that it was: deleted and made again, it has other jobs at the same offsets."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from lamplighter.kafka.settings.clientlog import client_logger
from lamplighter.kafka.settings.failed_looks import FailedLooks
from lamplighter.kafka.settings.native import AdminClient, KafkaError, KafkaException, TopicCollection

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two looks


class Identity:
    """The ids of topics (KIP-516), looked at beside the polling: a fetch goes on at the old offset without a word."""

    def __init__(self, config: Mapping[str, Any], topics: Sequence[str]) -> None:
        self._config = dict(config)
        self._topics = list(topics)
        self._admin: AdminClient | None = None
        self._ids: dict[str, str] = {}
        self._missing: set[str] = set()
        self._asked: dict[str, Future[Any]] = {}
        self._asked_at = float("-inf")
        self._failed = FailedLooks(log, "topics can't be asked whether they were made anew")

    def made_anew(self, now: float) -> list[str]:
        """The topics that have become others since the last look; never waits for the brokers."""
        try:
            return self._look(now)
        except Exception as error:  # polling must not end by a look that only helps
            self._asked, self._admin = {}, None
            self._failed.tell(error)
            return []

    def _look(self, now: float) -> list[str]:
        if not self._asked:
            if now - self._asked_at >= EVERY:
                self._asked_at = now
                self._ask()
            return []
        if not all(future.done() for future in self._asked.values()):
            return []
        asked, self._asked = self._asked, {}
        return [topic for topic, future in asked.items() if self._is_another(topic, future)]

    def _ask(self) -> None:
        # Made only now, so that the first job does not wait for it, and kept: its end would end what it was asked.
        if self._admin is None:
            self._admin = AdminClient(self._config, logger=client_logger())
        self._asked = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=EVERY)

    def _is_another(self, topic: str, future: "Future[Any]") -> bool:
        try:
            known, now = self._ids.get(topic), str(future.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART and topic not in self._missing:
                self._missing.add(topic)
                log.error("a topic is missing", extra={"topic": topic})
            return False
        except Exception as error:  # what was found of the other topics is told once, and must not be lost
            self._failed.tell(error)
            return False
        self._missing.discard(topic)
        self._ids[topic] = now
        return known is not None and known != now
