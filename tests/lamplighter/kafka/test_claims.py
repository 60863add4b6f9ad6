"""Which payloads travel, and which are put aside."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.kafka.claims import KafkaClaims
from lamplighter.queue.claims import HEADER, FileClaims

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
