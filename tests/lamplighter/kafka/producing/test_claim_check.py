"""Which payloads travel, and which are put aside."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge
from lamplighter.kafka.producing.claim_check import KafkaClaims
from lamplighter.kafka.queue import KafkaQueue
from lamplighter.kafka.settings.settings import read_settings
from lamplighter.queue.claims.claims import HEADER
from lamplighter.queue.claims.folder import FileClaims
from lamplighter.queue.jobs.payload import MAX_BYTES

PAYLOAD = b'{"job":"x","data":"%s"}' % (b"d" * 279)


@pytest.mark.parametrize(
    ("above", "limit", "key", "is_aside"),
    [(300, 1000, b"k", False), (299, 1000, b"k", True), (5000, 310, b"k" * 20, True), (5000, 310, None, False)],
)
def test_what_no_message_can_hold_is_put_aside_whatever_claim_above_says(
    tmp_path: Path, above: int, limit: int, key: bytes | None, is_aside: bool
) -> None:
    claims = KafkaClaims(FileClaims(tmp_path), above=above, limit=limit)

    fitting = claims.fit(Message(PAYLOAD, key, ()))

    assert len(PAYLOAD) == 300
    assert [name for name, _ in fitting.headers] == ([HEADER] if is_aside else [])
    assert len(list(tmp_path.iterdir())) == is_aside


def test_a_payload_whose_job_is_begun_is_young_again_so_that_it_is_there_when_the_job_fails(tmp_path: Path) -> None:
    store = FileClaims(tmp_path)
    reference = store.put(PAYLOAD)
    (file,) = tmp_path.iterdir()
    os.utime(file, (0, 0))
    delivery: Any = SimpleNamespace(headers=[(HEADER, str(reference).encode())])

    KafkaClaims(store, above=300, limit=1000).read(delivery)

    assert store.prune(hours=1, kept=lambda: ()) == 0


def test_what_a_connection_does_not_take_is_told_to_the_byte() -> None:
    settings = read_settings({"driver": "kafka", "max_message_bytes": 1000}, where=str)
    queue = KafkaQueue("kafka", settings, address=lambda: None)

    with pytest.raises(MessageTooLarge, match="A message of 1,003 bytes") as raised:
        queue.push(Message(b"x" * 1000, b"key", ()), queue="store")

    assert (raised.value.size, raised.value.limit) == (1003, 1000)


def test_what_no_worker_reads_is_not_put_aside(tmp_path: Path) -> None:
    claims = KafkaClaims(FileClaims(tmp_path), above=300, limit=1000)

    with pytest.raises(MessageTooLarge) as raised:
        claims.fit(Message(b'{"job":"x","data":"%s"}' % (b"d" * MAX_BYTES), None, ()))

    assert (raised.value.size, raised.value.limit) == (MAX_BYTES + 21, MAX_BYTES)
    assert list(tmp_path.iterdir()) == []
