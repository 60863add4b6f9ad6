"""librdkafka's mock cluster, as long as the object lives."""

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.settings.native import Producer

JOIN_DELAY_MS = 100  # what a group waits for further members; the mock's own 3 s would hold up every first job
PRODUCER = 0  # rd_kafka_type_t
TIMEOUT = 10.0

NEEDED = (
    "rd_kafka_conf_new",
    "rd_kafka_conf_set",
    "rd_kafka_new",
    "rd_kafka_mock_cluster_new",
    "rd_kafka_mock_cluster_bootstraps",
    "rd_kafka_mock_group_initial_rebalance_delay_ms",
)


class MockCluster:
    """One broker in memory. It keeps nothing, and drops a partition's oldest beyond about 5 MB.

    Raises:
        BrokerUnavailable: librdkafka can't make one.
    """

    def __init__(self, library: Path | None = None) -> None:
        self._keep: list[Any] = []
        self.address = self._by_library(library) if library is not None else self._by_property()

    def _by_library(self, path: Path) -> str:
        """By librdkafka's C interface, which the binding does not reach: only there the join delay can be set."""
        library = ctypes.CDLL(str(path))
        library.rd_kafka_conf_new.restype = ctypes.c_void_p
        library.rd_kafka_conf_set.argtypes = [ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t]
        library.rd_kafka_new.restype = ctypes.c_void_p
        library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        library.rd_kafka_mock_group_initial_rebalance_delay_ms.restype = None
        library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        why = ctypes.create_string_buffer(512)
        config = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(config, b"log_level", b"0", why, len(why))
        handle = library.rd_kafka_new(PRODUCER, config, why, len(why))
        cluster = library.rd_kafka_mock_cluster_new(handle, 1) if handle else None
        if not cluster:
            raise BrokerUnavailable(f"librdkafka can't make a mock cluster: {why.value.decode() or path}")
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, JOIN_DELAY_MS)
        self._keep = [library, handle, cluster]
        return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())

    def _by_property(self) -> str:
        producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "127.0.0.1:1", "log_level": 0})
        broker = next(iter(producer.list_topics(timeout=TIMEOUT).brokers.values()))
        self._keep = [producer]
        return f"{broker.host}:{broker.port}"


def bundled_library() -> Path | None:
    """The librdkafka that the wheel of confluent_kafka brings; None where it has another, or lacks what we need."""
    package = Path(confluent_kafka.__file__).parent
    places = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    for file in (file for place in places for file in sorted(place.glob("librdkafka[-.]*"))):
        library = ctypes.CDLL(str(file))
        if all(hasattr(library, name) for name in NEEDED):
            return file
    return None
