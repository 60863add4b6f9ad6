"""Whether a worker has become a member of its group, where the client itself is silent about it (KIP-848)."""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from lamplighter.errors import QueueError
from lamplighter.kafka.settings.client_errors import is_about_access
from lamplighter.kafka.settings.failed_looks import FailedLooks
from lamplighter.kafka.settings.native import AdminClient, Consumer, ConsumerGroupState, KafkaError, KafkaException

log = logging.getLogger(__name__)

PATIENCE = 15.0  # seconds until a group without us says that its brokers don't know the protocol
EVERY = 1.0  # seconds between two questions
TIMEOUT = 5.0  # seconds until one that has no answer is asked anew


class Membership:
    """Asks the brokers who is in the group, for as long as a consumer has been given nothing.

    With `group.protocol=consumer` librdkafka calls nobody for a member that gets no partition, and a broker before
    4.0 leaves it waiting for ever without a word. The polling thread never waits for the answers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._group = str(config["group.id"])
        self._brokers = str(config["bootstrap.servers"])
        self._config = _of_every_client(config)
        self._admin: AdminClient | None = None  # most are given partitions before it is needed
        self._answer: Future[Any] | None = None
        self._failed = FailedLooks(log, "the group can't be asked whether this worker is in it")
        self._began = self._asked_at = time.monotonic()

    def is_confirmed(self, consumer: Consumer, now: float) -> bool:
        """Whether the group is known to have this member, without a partition for it.

        Raises:
            QueueError: the group does without it, which is what brokers make of a protocol that they don't know.
        """
        try:
            return self._look(consumer, now)
        except QueueError:
            raise
        except Exception as error:  # polling must not end because the group can't be looked at
            self._answer = self._admin = None
            self._failed.tell(error)
            return False

    def _look(self, consumer: Consumer, now: float) -> bool:
        if self._answer is None:
            if now - self._asked_at >= EVERY:
                self._asked_at = now
                self._answer = self._ask()
            return False
        if not self._answer.done():
            if now - self._asked_at >= TIMEOUT:
                self._answer = self._admin = None  # the question ends with its client alone
            return False
        answer, self._answer = self._answer, None
        is_late = now - self._began >= PATIENCE
        try:
            group = answer.result(0)
        except KafkaException as error:
            # The embedded broker can't say who is in a group. It knows the protocol; others are asked again.
            return is_late and error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE
        own = next((member for member in group.members if member.member_id == consumer.memberid()), None)
        if own is None and is_late:
            raise QueueError(self._refusal())
        if own is None or group.state != ConsumerGroupState.STABLE:
            return False
        given = [own.assignment, own.target_assignment]
        return not any(part is not None and part.topic_partitions for part in given)

    def _ask(self) -> "Future[Any]":
        if self._admin is None:
            self._admin = AdminClient({**self._config, "log_level": 0})
        return self._admin.describe_consumer_groups([self._group])[self._group]

    def _refusal(self) -> str:
        return (
            f"The group {self._group!r} has not taken this worker in within {PATIENCE:g} s: the brokers "
            f"{self._brokers} may be older than Kafka 4.0, or have the protocol switched off. Set group_protocol to "
            f"classic (KAFKA_GROUP_PROTOCOL=classic)."
        )


def refusal(error: KafkaError, config: Mapping[str, Any]) -> QueueError:
    """What a worker says that its brokers refuse for good."""
    advice = "Check credentials and ACLs." if is_about_access(error) else ""
    name = config.get("group.instance.id")
    # The code of the error is only that it is fatal.
    if name and "instance" in error.str().lower():
        advice = (
            f"Another worker has the group_instance_id {name!r}: give each its own (KAFKA_GROUP_INSTANCE_ID). With "
            f"the group_protocol consumer it may be one that was killed: its name is free when its session has ended."
        )
    return QueueError(f"The brokers {config['bootstrap.servers']} refuse this worker: {error.str()}. {advice}".strip())


def _of_every_client(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a consumer is told, without what only a member of a group is."""
    return {key: value for key, value in config.items() if not key.startswith("group.")}
