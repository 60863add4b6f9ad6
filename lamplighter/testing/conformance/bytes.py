"""Bytes that somebody may have put onto a queue."""

import json
from contextlib import suppress

HOSTILE = {
    "nothing": b"",
    "one byte": b"{",
    "a zero": b"\0",
    "no text": b"\xff\xfe\x80",
    "no payload": b"[1, 2]",
    "a number": b"17",
    "text": "Grüße, 你好, 🚀".encode(),
    "half a pair": b'{"job": "\\ud800", "data": {"n": 1}, "attempts": 0}',
    "empty objects": b'{"job": "probe", "data": {"n": 1, "a": {}, "b": []}, "attempts": 0}',
    "long numbers": b'{"job": "probe", "data": {"n": 1, "a": 12345678901234567890, "b": 0.1}, "attempts": 0}',
    "slashes": b'{"job": "probe", "data": {"n": 1, "a": "\\/ \\u00fc"}, "attempts": 0}',
    "nested": b'{"job": "probe", "attempts": 0, "data": ' + b"[" * 200 + b"]" * 200 + b"}",
    "attempts are text": b'{"job": "probe", "data": {"n": 1}, "attempts": "many"}',
}

# Keys of jobs, and the payload of one that has this key.
KEYS = {
    "none": None,
    "text": b"order-7",
    "any text": 'Grüße "\\ 🚀'.encode(),
    "no text": b"\xff\x00\x80",
    "nothing": b"",
    "long": b"k" * 1001,
}


def payload_with(key: bytes | None) -> bytes:
    """A payload as a dispatch writes it: its id is the key, where that can be one."""
    id = "0123456789abcdef0123456789abcdef"
    if key is not None and 0 < len(key) <= 1000:
        with suppress(UnicodeDecodeError):
            id = key.decode()
    fields = {"uuid": "7", "job": "probe", "data": {"n": 1}, "id": id, "attempts": 0, "delay": None}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
