"""Why a job has failed, in one line."""

import pytest

from lamplighter.queue.failed.reason import MAX_LENGTH, reason_of
from lamplighter.queue.failed.trace import format_trace


def raised(error: BaseException, cause: BaseException | None = None) -> str:
    """The text of an error that was raised, from another one or not."""
    try:
        raise error from cause
    except BaseException as caught:
        return format_trace(caught)


class Silent(Exception):
    """Says nothing."""


@pytest.mark.parametrize(
    ("exception", "reason"),
    [
        ("", ""),
        ("\n\n", ""),
        (raised(RuntimeError("boom")), "RuntimeError: boom"),
        (raised(RuntimeError("boom"), KeyError("why")), "RuntimeError: boom"),
        (raised(RuntimeError("first\n  second\nthird")), "RuntimeError: first"),
        (raised(RuntimeError("x" * 40_000)), ("RuntimeError: " + "x" * 300)[:MAX_LENGTH]),
        (format_trace(RuntimeError("boom")), "RuntimeError: boom"),
        (
            "RuntimeException: boom in /app/Mail.php:7\nStack trace:\n#0 {main}",
            "RuntimeException: boom in /app/Mail.php:7",
        ),
        ("app.Errors.Boom: boom", "app.Errors.Boom: boom"),
        ("  indented alone", "indented alone"),
        ("Traceback (most recent call last):\n", "Traceback (most recent call last):"),
    ],
)
def test_the_last_error_of_a_chain_is_the_reason(exception: str, reason: str) -> None:
    assert reason_of(exception) == reason


def test_an_error_without_words_is_named() -> None:
    assert reason_of(raised(Silent())).endswith("Silent")
