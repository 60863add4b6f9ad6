"""Bytes that somebody may have put onto a queue."""

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
