"""Bytes where only text is kept."""


def as_text(payload: bytes) -> tuple[str, bool]:
    """A payload as text that every database and JSON takes, and whether it is the payload itself."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"), False
    return text.replace("\x00", "\\x00"), "\x00" not in text
