"""The options of a Kafka connection, and what librdkafka is told because of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lamplighter.errors import ConfigError
from lamplighter.kafka.settings.tiers import BY_GROUP, LONG, SHORT, Tiers
from lamplighter.queue.claims.folder import FileClaims, folder_of
from lamplighter.support.clock import ceil_ms, floor_ms
from lamplighter.support.options import parse_options

EMBEDDED = "embedded"
EMBEDDED_SESSION = 3.0  # seconds at most
# What the client refuses beside group.protocol=consumer.
CLASSIC_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type")
DEFAULT_PORT = 9092
# With less than these nothing would run, or not as one would think.
LEAST = {
    "partitions": 1,
    "retention_days": 1,
    "dispatch_timeout": 0.1,
    "session_timeout": 0.1,
    "max_poll_interval": 0.1,
    "sleep_on_error": 0,
    "sleep_on_deadlock": 0,
    "prefetch": 1,
    "prefetch_bytes": 1,
    "key_block_limit": 0,
    "stall_after": 0,
    "revoke_wait": 0,
    "claim_above": 0,
    "max_message_bytes": 1000,  # librdkafka's own
    "retry_in_place": 0,
    "delay_short": 0,
}
# With more than these librdkafka's milliseconds, Python's waits or a broker's count would overflow.
MOST = {
    "partitions": 100_000,
    "session_timeout": 3600,  # librdkafka's own
    "max_poll_interval": 86_400,  # librdkafka's own
    "dispatch_timeout": 86_400,
    "sleep_on_error": 86_400,
    "sleep_on_deadlock": 86_400,
}
MOVERS = ".delays"  # what follows the group's name in that of its movers
NO_TOPIC = re.compile(r"[^a-zA-Z0-9._-]")  # what no topic's name has
TOPIC_NAMES = "Names of topics have letters, digits, dots, underscores and hyphens."


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """One connection with `driver: kafka`; times are seconds.

    Attributes:
        brokers: `host[:port]` of one or more brokers, separated by commas, or `embedded`.
        queue: the topic that is worked where no other is named.
        topics: further topics that this application writes to, for `kafka:topics`.
        partitions, replication, retention_days: of topics that `kafka:topics --create` makes; replication -1 is the
            broker's own default.
        dispatch_timeout: how long a push waits for the broker's acknowledgement.
        session_timeout: how long after a worker's crash its partitions move to another; with the protocol `consumer`
            the brokers say it (`group.consumer.session.timeout.ms`).
        revoke_wait: how long a worker that gives partitions to another one finishes what it has in hand of them before;
            0 gives them away at once. Never more than half of `max_poll_interval`.
        group_protocol: `classic`, or `consumer` (KIP-848) on Kafka 4.0 and newer: the brokers share out the partitions.
        group_instance_id: a name that stays with one worker over restarts, and that no other one has: it leaves
            without giving its partitions up, for as long as its session lasts (KIP-345). Blank is off.
        sleep_on_error: the wait before brokers that are away are asked again; False ends the worker instead.
        sleep_on_deadlock: the wait before a job that met a database deadlock is run again.
        prefetch, prefetch_bytes: messages of a topic that wait in the worker's memory at most, and their size.
        ordering: what is kept in order: the jobs of a `key`, those of a `partition`, or `none`.
        key_block_limit: how long a job that is tried again may make the jobs behind it wait, until it has failed; 0 is
            without end.
        retry_in_place: a retry that is due within this wait waits in its place; a later one travels as a copy, and so
            does every one that has to wait where `ordering` is none.
        dead_letter_topic: where failed jobs are written to, beside their table; empty is nowhere.
        delay_prefix: what the names of the delay topics begin with; without it the group and `.delay.`.
        delay_short: delays up to this go through the delay topics, longer ones to the `delay_store`.
        delay_store: where long delays wait: in a `database`, or in more delay topics of `kafka`.
        delay_database, delay_table: the connection of config/database.py and the table for them.
        claim_check: a folder that every dispatcher and worker reaches: payloads of more than `claim_above` bytes are
            kept there where that makes the message smaller, and the message names the file; empty is off.
        stall_after: how long nothing may go on in a worker that has something to do, until it ends; 0 is for ever.
        security_protocol, sasl_mechanisms, sasl_username, sasl_password, ssl_ca_location: as librdkafka's; a relative
            path is one of the project's folder.
        sasl_enable, sasl_plain_username, sasl_plain_password: the PHP driver's names for SASL with PLAIN.
        options, consumer_options, producer_options: librdkafka's own settings, which win over everything.
    """

    driver: Literal["kafka"] = "kafka"
    brokers: str = "localhost"
    queue: str = "default"
    consumer_group_id: str = "lamplighter"
    client_id: str = "lamplighter"
    topics: tuple[str, ...] = ()
    partitions: int = 4
    replication: int = -1
    retention_days: int = 30
    auto_offset_reset: Literal["earliest", "latest", "error"] = "earliest"
    dispatch_timeout: float = 10.0
    session_timeout: float = 10.0
    max_poll_interval: float = 300.0
    revoke_wait: float = 30.0
    group_protocol: Literal["classic", "consumer"] = "classic"
    group_instance_id: str = ""
    sleep_on_error: float | Literal[False] = 5.0
    sleep_on_deadlock: float = 2.0
    prefetch: int = 4000
    prefetch_bytes: int = 16 * 1024 * 1024
    ordering: Literal["none", "key", "partition"] = "key"
    key_block_limit: float = 0.0
    dead_letter_topic: str = ""
    stall_after: float = 60.0
    claim_check: str = ""
    claim_above: int = 512 * 1024
    max_message_bytes: int = 1_000_000
    retry_in_place: float = 60.0
    delay_prefix: str = ""
    delay_short: float = 900.0
    delay_store: Literal["database", "kafka"] = "database"
    delay_database: str | None = None
    delay_table: str = "delayed_jobs"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanisms: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_ca_location: str = ""
    sasl_enable: bool = False
    sasl_plain_username: str = ""
    sasl_plain_password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    consumer_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    producer_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_embedded(self) -> bool:
        """Whether the broker is the one that comes with the framework."""
        return self.brokers == EMBEDDED

    @property
    def group(self) -> str:
        """The consumer group of the workers: librdkafka's own settings win."""
        return str(self.consumer_config()["group.id"])

    @property
    def delays_group(self) -> str:
        """The consumer group that moves delayed jobs on."""
        return self.consumer_group_id + MOVERS

    @property
    def tiers(self) -> Tiers:
        """The delay topics that are written to."""
        long = LONG if self.delay_store == "kafka" else ()
        # A group's name may have what a topic's may not.
        by_group = NO_TOPIC.sub("_", self.consumer_group_id) + BY_GROUP
        return Tiers(self.delay_prefix or by_group, SHORT + long)

    @property
    def written(self) -> tuple[str, ...]:
        """The topics that a worker or its jobs write to."""
        return (*self.topics, self.dead_letter_topic) if self.dead_letter_topic else self.topics

    @property
    def claims(self) -> FileClaims | None:
        """Where large payloads are put aside; None where they are not."""
        return FileClaims(Path(self.claim_check)) if self.claim_check else None

    def client_config(self, address: str | None = None) -> dict[str, Any]:
        """What every client is told; `address` stands in for the brokers where these are `embedded`."""
        config: dict[str, Any] = {
            "bootstrap.servers": address or with_ports(self.brokers),
            "client.id": self.client_id,
            # A broker that hangs with open connections is given up after 10 s instead of 60.
            "socket.timeout.ms": 10_000,
            # The first connection is tried again at once while a broker starts; 100 ms would be the default.
            "reconnect.backoff.ms": 10,
        }
        config.update(self._security())
        config.update(self.options)
        return config

    def consumer_config(self, address: str | None = None) -> dict[str, Any]:
        """What the worker's consumer is told."""
        return {
            **self.client_config(address),
            "group.id": self.consumer_group_id,
            # A new group begins with the oldest job: the default `largest` would skip what is there.
            "auto.offset.reset": self.auto_offset_reset,
            # Offsets are committed by the tracker, after the jobs.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            **self._group_config(),
            "max.poll.interval.ms": ceil_ms(max(self.max_poll_interval, self.session_timeout)),
            # Memory is bounded, and the queue is refilled at once when it has room again: the default backoff of
            # 1000 ms would divide the rate by 4 to 7.
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 5,
            # The real broker answers a waiting fetch at once; the embedded one is not woken by a produce.
            "fetch.wait.max.ms": 10 if self.is_embedded else 500,
            # On the embedded broker topics come by themselves, also for a worker that is there before any job.
            "allow.auto.create.topics": self.is_embedded,
            # Partitions that are added are seen within this; the default of five minutes leaves their jobs for so long.
            "topic.metadata.refresh.interval.ms": 10_000,
            # Tells that a partition is read to its end, for --stop-when-empty.
            "enable.partition.eof": True,
            **self.options,
            **self.consumer_options,
        }

    def _group_config(self) -> dict[str, Any]:
        """How the worker is a member of its group."""
        own = {"group.instance.id": self.group_instance_id} if self.group_instance_id else {}
        if self.group_protocol == "consumer":
            # Sessions, heartbeats and the sharing out are the brokers' matter, and the client refuses settings of them.
            return {**own, "group.protocol": "consumer"}
        # At each change of the group the embedded broker waits for a whole session, less a second: with 10 s a second
        # worker would have its share after half a minute.
        session = min(self.session_timeout, EMBEDDED_SESSION) if self.is_embedded else self.session_timeout
        return {
            **own,
            # Partitions that stay with a member keep being worked while others move.
            "partition.assignment.strategy": "cooperative-sticky",
            # A crashed worker's partitions move after this long; it bounds a synchronous commit, too.
            "session.timeout.ms": ceil_ms(session),
            # A clean leave is noticed by the others within a heartbeat: 0.6 s instead of 4 s at the default 3000.
            "heartbeat.interval.ms": min(500, floor_ms(session / 3)),
        }

    def producer_config(self, address: str | None = None) -> dict[str, Any]:
        """What the producer is told."""
        return {
            **self.client_config(address),
            # No duplicate and no other order by the producer's own retries; implies acks=all. The embedded broker is
            # on this host and keeps nothing: there it would only cost the first push half a second.
            "enable.idempotence": not self.is_embedded,
            # The partition of a key as JVM clients choose it.
            "partitioner": "murmur2_random",
            # A single push is sent at once: waiting for each at the default 5 ms makes 190 a second.
            "linger.ms": 0,
            # What is pushed while a request is on its way goes out in the next one. A broker takes that one only when
            # it has answered the last, so that more of them gain nothing, and three nodes have less to do.
            "max.in.flight.requests.per.connection": 1,
            # A report, good or bad, arrives before dispatch_timeout has passed; reports are a second late at most.
            "message.timeout.ms": max(1000, round((self.dispatch_timeout - 1) * 1000)),
            "message.max.bytes": self.max_message_bytes,
            # A push to a topic that is not there fails early enough for a clear error.
            "topic.metadata.propagation.max.ms": max(1000, round(self.dispatch_timeout * 500)),
            **self.options,
            **self.producer_options,
        }

    def _security(self) -> dict[str, Any]:
        username = self.sasl_username or self.sasl_plain_username
        password = self.sasl_password or self.sasl_plain_password
        protocol = self.security_protocol.upper() or "PLAINTEXT"
        if self.sasl_enable and protocol == "PLAINTEXT":
            protocol = "SASL_SSL" if self.ssl_ca_location else "SASL_PLAINTEXT"
        config: dict[str, Any] = {"security.protocol": protocol}
        if protocol.startswith("SASL"):
            config["sasl.mechanisms"] = self.sasl_mechanisms or "PLAIN"
            config["sasl.username"] = username
            config["sasl.password"] = password
        if self.ssl_ca_location:
            config["ssl.ca.location"] = self.ssl_ca_location
        return config


def with_ports(brokers: str) -> str:
    """The brokers, each with its port; `localhost` is `localhost:9092`."""
    hosts = [host.strip() for host in brokers.split(",") if host.strip()]
    return ",".join(host if host.rpartition(":")[2].isdigit() else f"{host}:{DEFAULT_PORT}" for host in hosts)


def read_settings(options: Mapping[str, Any], *, where: Callable[[str], str]) -> KafkaSettings:
    """The settings of a connection; `where` tells the file of a key.

    Raises:
        ConfigError: a key is unknown or ill-typed, or no broker is named; it names the file and what is known.
    """
    settings = parse_options(KafkaSettings, options, where=where)
    if not with_ports(settings.brokers) and "bootstrap.servers" not in settings.options:
        raise ConfigError(
            f"{where('brokers')} names no broker: the key 'brokers' is blank. Set KAFKA_BROKERS to host[:port], or to "
            f"{EMBEDDED}."
        )
    _check_protocol(settings, where)
    folder_of(settings.claim_check, where=where("claim_check"))
    _check_numbers(settings, where)
    _check_names(settings, where)
    return settings


def _check_names(settings: KafkaSettings, where: Callable[[str], str]) -> None:
    for key in ("queue", "consumer_group_id"):
        if not getattr(settings, key).strip():
            raise ConfigError(f"{where(key)} has nothing for the key {key!r}, which takes a name.")
    for key, names in (("topics", settings.topics), ("dead_letter_topic", [settings.dead_letter_topic])):
        for name in names:
            if NO_TOPIC.search(name):
                raise ConfigError(f"{where(key)} has {name!r} for the key {key!r}. {TOPIC_NAMES}")
    if NO_TOPIC.search(settings.delay_prefix):
        raise ConfigError(
            f"{where('delay_prefix')} has {settings.delay_prefix!r} for the key 'delay_prefix', which names "
            f"of topics begin with: letters, digits, dots, underscores and hyphens."
        )


def _check_numbers(settings: KafkaSettings, where: Callable[[str], str]) -> None:
    for key, least in LEAST.items():
        value = getattr(settings, key)
        if not value >= least:
            raise ConfigError(f"{where(key)} has {value:g} for the key {key!r}, which takes {least:g} at least.")
    for key, most in MOST.items():
        value = getattr(settings, key)
        if value > most:
            raise ConfigError(f"{where(key)} has {value:g} for the key {key!r}, which takes {most} at most.")


def _check_protocol(settings: KafkaSettings, where: Callable[[str], str]) -> None:
    for place, told in (("options", settings.options), ("consumer_options", settings.consumer_options)):
        if "group.protocol" in told:
            raise ConfigError(
                f"{where(place)} has group.protocol among its {place}, and the worker has to know of it. Set the key "
                f"group_protocol instead."
            )
        refused = [key for key in CLASSIC_ONLY if key in told]
        if refused and settings.group_protocol == "consumer":
            raise ConfigError(
                f"{where(place)} has {', '.join(refused)} among its {place}, and the group_protocol consumer leaves "
                f"that to the brokers. Remove it, or set group_protocol to classic."
            )
