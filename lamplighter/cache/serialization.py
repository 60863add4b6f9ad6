"""Values as text: what PHP writes for integers, text, booleans and null, and JSON of our own for the rest."""

import json
import re
from typing import Any

MARK = "json:"
_INTEGER = re.compile(r"i:(-?\d+);")
_BOOLEAN = re.compile(r"b:([01]);")
_TEXT = re.compile(r's:(\d+):"(.*)";', re.DOTALL)


def dump(value: object) -> str:
    """A value as a file keeps it; PHP reads integers, booleans and text."""
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    return MARK + json.dumps(value)


def load(text: str) -> Any:
    """The value of such text; None where it is something else, a serialized object among it."""
    if text.startswith(MARK):
        try:
            return json.loads(text.removeprefix(MARK))
        except ValueError:
            return None
    if match := _INTEGER.fullmatch(text):
        return int(match[1])
    if match := _BOOLEAN.fullmatch(text):
        return match[1] == "1"
    if (match := _TEXT.fullmatch(text)) and len(match[2].encode()) == int(match[1]):
        return match[2]
    return None
