"""librdkafka's mock cluster in a process of its own, with the errors and outages that a test asks for."""

import ctypes
import json
import subprocess
import sys
import uuid
from typing import Any

from lamplighter.kafka.embedded.cluster import PRODUCER, bundled_library
from tests.harness import ROOT, Broker

JOIN_DELAY_MS = 100
# Keys of the protocol.
OFFSET_COMMIT, OFFSET_FETCH, FETCH, PRODUCE, HEARTBEAT, JOIN_GROUP, INIT_PRODUCER_ID = 8, 9, 1, 0, 12, 11, 22


class Mock(Broker):
    """A mock cluster that lives as long as its process."""

    def __init__(self, *, nodes: int = 1) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.mock", str(nodes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        super().__init__(str(self._answer()))

    def topic(self, prefix: str = "test", *, partitions: int = 4, **config: str) -> str:
        """A new topic's name."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self("topic", name, partitions)
        return name

    def refuse(self, request: int, *codes: int) -> None:
        """The next requests of this kind get these answers, one each; -195 is a broken connection."""
        self("errors", request, *codes)

    def refuse_slowly(self, request: int, code: int, milliseconds: int) -> None:
        """The next request of this kind gets this answer (0 is none) after so long."""
        self("slow", request, code, milliseconds)

    def __call__(self, command: str, *arguments: object) -> object:
        """Have something done to the cluster: topic, errors, down, up, rtt, clear, coordinator, leader."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the mock cluster has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=10)


class Cluster:
    """The cluster by librdkafka's C interface, as its process holds it."""

    def __init__(self, nodes: int) -> None:
        path = bundled_library()
        assert path is not None, "the wheel of confluent_kafka brings no librdkafka with a mock cluster"
        self._library = library = ctypes.CDLL(str(path))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(library, name).restype = ctypes.c_void_p
        library.rd_kafka_conf_set.argtypes = [ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t]
        library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        why = ctypes.create_string_buffer(512)
        config = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(config, b"log_level", b"0", why, len(why))
        handle = library.rd_kafka_new(PRODUCER, config, why, len(why))
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, nodes))
        assert self._cluster, why.value.decode()
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, JOIN_DELAY_MS)

    def address(self) -> str:
        """The bootstrap servers."""
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def do(self, command: str, *arguments: Any) -> int:
        """One command of `Mock`; 0 where it worked."""
        library, cluster = self._library, self._cluster
        if command == "topic":
            return int(library.rd_kafka_mock_topic_create(cluster, arguments[0].encode(), arguments[1], 1))
        if command == "errors":
            request, *codes = arguments
            array = (ctypes.c_int * len(codes))(*codes)
            count = ctypes.c_size_t(len(codes))
            library.rd_kafka_mock_push_request_errors_array(cluster, ctypes.c_int16(request), count, array)
            return 0
        if command == "slow":
            request, code, milliseconds = arguments
            push = library.rd_kafka_mock_broker_push_request_error_rtts
            return int(push(cluster, 1, ctypes.c_int16(request), ctypes.c_size_t(1), code, milliseconds))
        if command == "clear":
            library.rd_kafka_mock_clear_request_errors(cluster, ctypes.c_int16(arguments[0]))
            return 0
        calls = {"down": "broker_set_down", "up": "broker_set_up", "rtt": "broker_set_rtt"}
        return int(getattr(library, f"rd_kafka_mock_{calls[command]}")(cluster, *arguments))


def main() -> None:
    """Serve commands, one a line, until the other side is gone."""
    cluster = Cluster(int(sys.argv[1]))
    _say({"answer": cluster.address()})
    for line in sys.stdin:
        status = cluster.do(*json.loads(line))
        _say({"answer": status} if status == 0 else {"error": f"{line.strip()}: librdkafka says {status}"})


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
