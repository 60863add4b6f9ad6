"""What Python's client can't send: any bytes as the names of headers, and as the metadata of commits."""

import ctypes
import socket
import struct
from collections.abc import Sequence

from lamplighter.kafka.embedded.cluster import PRODUCER, bundled_library

# The tags of rd_kafka_producev(), and a flag of messages.
END, TOPIC, PARTITION, VALUE, KEY, FLAGS, HEADERS = 0, 1, 3, 4, 5, 7, 10
COPY = 2

RawHeaders = Sequence[tuple[bytes, bytes | None]]


class RawProducer:
    """Sends to one broker until `close`."""

    def __init__(self, brokers: str) -> None:
        self._library = library = ctypes.CDLL(str(bundled_library()))
        for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
            getattr(library, function).restype = ctypes.c_void_p
        why = ctypes.create_string_buffer(512)
        config = ctypes.c_void_p(library.rd_kafka_conf_new())
        for name, value in ((b"bootstrap.servers", brokers.encode()), (b"log_level", b"0")):
            assert library.rd_kafka_conf_set(config, name, value, why, ctypes.c_size_t(512)) == 0, why.value
        self._handle = ctypes.c_void_p(library.rd_kafka_new(PRODUCER, config, why, ctypes.c_size_t(512)))

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: RawHeaders = (), *, partition: int = 0
    ) -> None:
        """Send one record; `flush` waits for it."""
        library = self._library
        packed = ctypes.c_void_p(library.rd_kafka_headers_new(ctypes.c_size_t(8)))
        for name, content in headers:
            sizes = ctypes.c_ssize_t(len(name)), ctypes.c_ssize_t(len(content or b""))
            assert library.rd_kafka_header_add(packed, name, sizes[0], content, sizes[1]) == 0
        code = library.rd_kafka_producev(
            self._handle,
            *(ctypes.c_int(TOPIC), ctypes.c_char_p(topic.encode())),
            *(ctypes.c_int(PARTITION), ctypes.c_int32(partition)),
            *(ctypes.c_int(VALUE), ctypes.c_char_p(value), ctypes.c_size_t(len(value or b""))),
            *(ctypes.c_int(KEY), ctypes.c_char_p(key), ctypes.c_size_t(len(key or b""))),
            *(ctypes.c_int(FLAGS), ctypes.c_int(COPY)),
            *(ctypes.c_int(HEADERS), packed),
            ctypes.c_int(END),
        )
        assert code == 0, f"librdkafka refuses the record with error {code}"

    def close(self) -> None:
        """Wait until the broker has all of them, and end."""
        assert self._library.rd_kafka_flush(self._handle, ctypes.c_int(20_000)) == 0, "the broker took too long"
        self._library.rd_kafka_destroy(self._handle)


def send_raw(
    brokers: str, topic: str, *records: tuple[bytes | None, bytes | None, RawHeaders], partition: int = 0
) -> None:
    """Send records of key, value and headers to one partition, and wait until they are there."""
    producer = RawProducer(brokers)
    for key, value, headers in records:
        producer.send(topic, key, value, headers, partition=partition)
    producer.close()


def commit_raw(brokers: str, group: str, topic: str, offsets: dict[int, int], metadata: bytes) -> int:
    """Commit offsets with any bytes as their metadata, as a client in another language would; the error of the first.

    By a request OffsetCommit of version 2, https://kafka.apache.org/protocol#The_Messages_OffsetCommit.
    """

    def text(data: bytes) -> bytes:
        return struct.pack(">h", len(data)) + data

    partitions = b"".join(struct.pack(">iq", *one) + text(metadata) for one in offsets.items())
    head = struct.pack(">hhi", 8, 2, 1) + text(b"raw") + text(group.encode())
    body = struct.pack(">i", -1) + text(b"") + struct.pack(">qi", -1, 1) + text(topic.encode())
    request = head + body + struct.pack(">i", len(offsets)) + partitions
    host, _, port = brokers.split(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        stream = connection.makefile("rb")
        answer = stream.read(struct.unpack(">i", stream.read(4))[0])
    return int(struct.unpack(">h", answer[-2:])[0])
