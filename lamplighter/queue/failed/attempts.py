"""The count of attempts in a payload."""

import msgspec


def without_attempts(payload: bytes) -> bytes:
    """The payload with its count of attempts at 0, where it has one; every other value keeps its bytes."""
    try:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return payload
    if "attempts" not in fields or bytes(fields["attempts"]) == b"0":
        return payload
    return msgspec.json.encode({**fields, "attempts": msgspec.Raw(b"0")})
