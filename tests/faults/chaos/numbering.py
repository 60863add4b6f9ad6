"""Which job a message is: its number stands in its data, or where a message that is no job can show it."""

import json
import re
from collections.abc import Iterable

NUMBER = re.compile(rb'chaos-n=(\d+);|"n": ?(\d+)[,}]')


def mark(n: int) -> bytes:
    """What tells which job a message is, wherever it stands in it."""
    return b"chaos-n=%d;" % n


def number_in(value: bytes | None, key: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int | None:
    """The number of the job that a message is; None where it is none of the round's."""
    for part in (key, value, *(content for _, content in headers)):
        found = NUMBER.search(part or b"")
        if found:
            return int(found[1] or found[2])
    return None


def words_of(n: int, size: int) -> str:
    """The text that a job carries: some letters of other alphabets, and `size` characters in all."""
    text = f"№ {n} — Grüße, 世界 \u2028 {json.dumps([n])} "
    return (text * (size // len(text) + 1))[: max(size, len(text))]
