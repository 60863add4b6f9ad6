"""A producer that sends any bytes as the names of headers: Python's client can't, the librdkafka that it brings can."""

import ctypes
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
