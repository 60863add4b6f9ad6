"""What delay topics have to be like."""

from collections.abc import Mapping

from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.settings.tiers import LONGEST, SHORT
from lamplighter.support.clock import ceil_ms

DAY_MS = 24 * 60 * 60 * 1000
SPARE_MS = 7 * DAY_MS  # for which every worker may be away beyond that


def config_of(settings: KafkaSettings) -> dict[str, str]:
    """The configuration that `kafka:topics --create` gives them."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(max(settings.retention_days * DAY_MS, _longest_ms(settings) + SPARE_MS)),
        "retention.bytes": "-1",
        # A job is due so long after it was appended, whatever the clock of its sender says.
        "message.timestamp.type": "LogAppendTime",
    }


def partitions_of(settings: KafkaSettings, name: str) -> int:
    """How many partitions they are given: long waits have few jobs an hour."""
    return settings.partitions if settings.tiers.seconds_of(name) in SHORT else 1


def problems(settings: KafkaSettings, name: str, config: Mapping[str, str]) -> list[str]:
    """What would lose a delayed job, or run one early."""
    found = []
    retention = int(config.get("retention.ms", "-1"))
    longest = settings.tiers.seconds_of(name) * 1000
    if 0 < retention <= longest:
        found.append(f"retention.ms is {retention:,}: a job may have to wait there for {longest:,}")
    size = int(config.get("retention.bytes", "-1"))
    if size > 0:
        found.append(f"retention.bytes is {size:,}: jobs beyond it are deleted while they wait")
    if config.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime":
        found.append("message.timestamp.type is not LogAppendTime: jobs run early where a sender's clock is slow")
    return found


def _longest_ms(settings: KafkaSettings) -> int:
    longest = LONGEST if settings.delay_store == "kafka" else max(settings.delay_short, SHORT[-1])
    return ceil_ms(longest)
