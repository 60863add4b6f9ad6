"""The count of attempts in a payload."""

import json

import msgspec

_Fields = dict[str, msgspec.Raw]


def without_attempts(payload: bytes) -> bytes:
    """The payload with its count of attempts at 0, where it has one; every other value keeps its bytes."""
    try:
        fields = msgspec.json.decode(payload, type=_Fields)
    except (msgspec.DecodeError, RecursionError):
        return payload
    if "attempts" not in fields or bytes(fields["attempts"]) == b"0":
        return payload
    return msgspec.json.encode({**fields, "attempts": msgspec.Raw(b"0")})


def with_attempts(payload: bytes, more: int) -> bytes | None:
    """The payload with so many more attempts; every other value keeps its bytes. None where it has no place for them.

    What msgspec does not read, but a worker does (half a surrogate pair), is written anew.
    """
    try:
        fields = msgspec.json.decode(payload, type=_Fields)
        before = msgspec.json.decode(fields["attempts"]) if "attempts" in fields else 0
        return msgspec.json.encode({**fields, "attempts": msgspec.Raw(b"%d" % ((before or 0) + more))})
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError):
        return _with_attempts_leniently(payload, more)


def _with_attempts_leniently(payload: bytes, more: int) -> bytes | None:
    try:
        fields = json.loads(payload)
        fields["attempts"] = (fields.get("attempts") or 0) + more
        return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
