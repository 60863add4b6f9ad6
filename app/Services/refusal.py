"""What is answered instead of a row."""

from typing import Any


class Refusal(Exception):
    """An answer that is no row: a code, a message, and the data that go with it."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def not_found(data: Any = None) -> Refusal:
    """404: there is no such row; an empty list where a page was asked for."""
    return Refusal(404, "Not found", data)


def invalid(message: str, data: Any = None) -> Refusal:
    """422: what was sent does not fit."""
    return Refusal(422, message, data)
