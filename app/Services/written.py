"""JSON of what was read from JSON."""

import json


def written(value: object) -> bytes:
    """A value as compact JSON in UTF-8, which has no bytes for half of a surrogate pair: that is written as its escape.

    `"\\ud800"` in an event is `"\\ud800"` here: nothing else is escaped but what JSON demands.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Python's way to write what UTF-8 lacks is JSON's escape, letter for letter.
    return text.encode("utf-8", "backslashreplace")
