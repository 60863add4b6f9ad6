"""What a dead letter says, and how much of it."""

from dataclasses import dataclass
from typing import Any

import pytest

from lamplighter.contracts import Headers, Message
from lamplighter.kafka.deadletters.letter import Letter, Mark, fields_of, mark, mark_in, read, write
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.trace import MAX_BYTES


@dataclass
class Read:
    """A message as a consumer gives it."""

    sent: Any

    def key(self) -> bytes | None:
        """The key."""
        return self.sent.key  # type: ignore[no-any-return]

    def value(self) -> bytes | None:
        """The value."""
        return self.sent.payload  # type: ignore[no-any-return]

    def headers(self) -> Headers:
        """The headers, in their order."""
        return list(self.sent.headers)


def failure(**fields: Any) -> Failure:
    """A job that has failed."""
    given: dict[str, Any] = {
        "connection": "kafka",
        "queue": "store",
        "payload": b'{"job":"x"}',
        "error": RuntimeError("boom"),
        "uuid": "u-1",
        "key": b"k",
        "headers": [("trace", b"\x00"), ("none", None)],
        "origin": "store[3]@7",
        "timestamp_ms": 5,
        "attempts": 2,
    }
    return Failure(**{**given, **fields})


def again(sent: Any) -> Letter:
    """A letter, read back."""
    message: Any = Read(sent)
    told = fields_of(message)
    assert told is not None
    found = read(message, *told)
    assert found is not None
    return found


def size(sent: Any) -> int:
    """The bytes of a message, without its framing."""
    return len(sent.payload) + len(sent.key or b"") + sum(len(name) + len(value or b"") for name, value in sent.headers)


def test_a_letter_is_read_back_with_the_senders_headers_alone() -> None:
    job = again(write(failure(), "u-1", limit=1_000_000)).job

    assert (job.id, job.connection, job.queue, job.origin) == ("u-1", "kafka", "store", "store[3]@7")
    assert (job.payload, job.key) == (b'{"job":"x"}', b"k")
    assert list(job.headers) == [("trace", b"\x00"), ("none", None)]
    assert job.exception.startswith("RuntimeError: boom")


def test_headers_of_ours_that_the_sender_has_written_are_the_senders() -> None:
    forged = [("x-failed-version", b"1"), ("x-failed-id", b"other"), ("x-failed-settled", b"other")]

    sent = write(failure(headers=forged), "u-1", limit=1_000_000)

    assert again(sent).job.id == "u-1"
    assert list(again(sent).job.headers) == forged
    told = fields_of(Read(sent))  # type: ignore[arg-type]
    assert told is not None
    assert mark_in(told[1]) is None


@pytest.mark.parametrize("text", ["x" * 100_000, "\U0001f600" * 50_000, "\x00\n" * 50_000, "\ud800" * 9000])
def test_what_an_error_says_is_bounded(text: str) -> None:
    sent = write(failure(error=RuntimeError(text), uuid="u" * 5000), "u" * 5000, limit=1_000_000)

    sizes = {name: len(value or b"") for name, value in sent.headers}
    assert sizes["x-failed-message"] <= 1024
    assert sizes["x-failed-trace"] <= MAX_BYTES
    assert sizes["x-failed-uuid"] <= 255
    assert again(sent).job.id == failure().identity


@pytest.mark.parametrize("limit", [0, 1500, 2000, 5000, 20_000])
def test_the_trace_is_what_gives_way(limit: int) -> None:
    error = RuntimeError("x" * 100_000)

    sent = write(failure(error=error, payload=b"p" * 500), "u-1", limit=limit)

    assert size(sent) <= max(limit, size(write(failure(error=error, payload=b"p" * 500), "u-1", limit=0)))
    assert again(sent).job.payload == b"p" * 500
    assert again(sent).job.exception


def test_one_message_has_one_identity_and_another_has_another() -> None:
    same = failure(error=ValueError(), attempts=9, uuid="u-2").identity

    others = [
        failure(origin="store[3]@8"),
        failure(timestamp_ms=6),
        failure(payload=b"y"),
        failure(connection="other"),
        failure(queue="audit"),
    ]

    assert same == failure().identity
    assert len({same, *(other.identity for other in others)}) == 6


def again_as_mark(sent: Message) -> Mark | None:
    """A mark, read back."""
    told = fields_of(Read(sent))  # type: ignore[arg-type]
    assert told is not None
    return mark_in(told[1])


def test_a_mark_names_what_it_ends_and_up_to_where() -> None:
    assert again_as_mark(mark("i-1", connection="kafka", until=7)) == Mark("i-1", "kafka", 7)


def test_a_mark_that_does_not_say_up_to_where_ends_all_before_it() -> None:
    sent = Message(b"", b"i-1", [("x-failed-version", b"1"), ("x-failed-settled", b"i-1")])

    assert again_as_mark(sent) == Mark("i-1", None, None)


@pytest.mark.parametrize("until", [b"", b"-1", b"x", "\u0663".encode(), b"9" * 400, b"\xff", None])
def test_a_mark_whose_offset_can_not_be_read_ends_nothing(until: bytes | None) -> None:
    headers: Headers = [("x-failed-version", b"1"), ("x-failed-settled", b"i-1"), ("x-failed-until", until)]

    assert again_as_mark(Message(b"", b"i-1", headers)) == Mark("i-1", None, -1)


@pytest.mark.parametrize("headers", [[], [("x-failed-id", b"u")], [("x-failed-version", b"1")]])
def test_what_others_have_written_is_no_letter(headers: Headers) -> None:
    message: Any = Read(failure(headers=headers))

    told = fields_of(message)

    assert told is None or read(message, *told) is None
