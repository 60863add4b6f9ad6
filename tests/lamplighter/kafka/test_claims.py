"""Which payloads travel, and which are put aside."""

from pathlib import Path

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
