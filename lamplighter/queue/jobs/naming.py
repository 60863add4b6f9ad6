"""The id and the name of a job, as its payload says them, for lists of jobs."""

import json

MOST = 255  # characters


def id_and_name(payload: bytes) -> tuple[str, str]:
    """The id and the name of a job; cut, and without unprintable characters, for a column and a screen."""
    try:
        fields = json.loads(payload)
        words = str(fields.get("id") or fields.get("uuid") or ""), str(fields.get("displayName") or fields.get("job"))
    except (ValueError, AttributeError, RecursionError):
        return "", "unreadable payload"
    id, name = ("".join(letter if letter.isprintable() else "?" for letter in word[:MOST]) for word in words)
    return id, name
