"""The JSON envelope on the wire, byte-compatible with Laravel's: written as version 13 does, read since 5.7."""

import json
import math
import os
import re
import time
from typing import Any

import msgspec

from lamplighter.errors import UnreadablePayload
from lamplighter.support.forking import watch

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 512
MOST_ATTEMPTS = 1_000_000_000
# Stands for the job in the small payload of one that is kept elsewhere; only where it is read are headers looked at.
CLAIM_JOB = "lamplighter.claim"
# Possessive, and without need of the closing quote: a string that is never closed is looked at once, not once for each
# of its quotes.
BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


NULL = msgspec.Raw(b"null")


class Envelope(msgspec.Struct, rename="camel", gc=False):
    """What a worker reads of a payload; null stands for "not said" in every one of its optional keys.

    Attributes:
        raw: the job's data as JSON, which a class with fields reads by its own types.
    """

    job: str
    raw: msgspec.Raw = msgspec.field(default=NULL, name="data")
    uuid: str | None = None
    id: str | int | None = None
    display_name: str | None = None
    attempts: int | None = None
    max_tries: int | None = None
    backoff: str | float | list[float] | None = None
    timeout: float | None = None

    @property
    def data(self) -> Any:
        """The job's data, decoded anew each time.

        Raises:
            UnreadablePayload: they are no JSON.
        """
        try:
            return read_json(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnreadablePayload(f"The payload's data can't be read: {error}.") from error

    def own_id(self) -> str:
        """What a message without a key is called by: the `id`, or the `uuid` where that is null; empty without both."""
        id = self.uuid if self.id is None else self.id
        return "" if id is None else str(id)


class Entropy:
    """Random bytes of the kernel, a page at a time: asking it for each id takes as long as writing the payload."""

    def __init__(self) -> None:
        self._unused: list[bytes] = []
        watch(self, in_child=lambda entropy: entropy._unused.clear())

    def take(self) -> bytes:
        """Sixteen bytes that nobody else is given."""
        try:
            return self._unused.pop()
        except IndexError:
            page = os.urandom(4096)
            self._unused.extend(page[at : at + 16] for at in range(16, len(page), 16))
            return page[:16]


_decoder = msgspec.json.Decoder(Envelope)
_entropy = Entropy()


def read(payload: bytes | None) -> Envelope:
    """The envelope of a payload; size and nesting are bounded before decoding.

    Raises:
        UnreadablePayload: it is empty, too large, nested too deep, not JSON, or not of a payload's shape.
    """
    if not payload:
        raise UnreadablePayload("The message is empty: a payload is a JSON object with the keys job and data.")
    if len(payload) > MAX_DEPTH:
        _bound(payload)
    try:
        try:
            envelope = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            envelope = _read_leniently(payload)
    except (msgspec.DecodeError, ValueError) as error:
        raise UnreadablePayload(f"The message is no payload: {error}.") from error
    except RecursionError as error:
        raise UnreadablePayload(f"The payload is nested deeper than {MAX_DEPTH} levels.") from error
    if not 0 <= (envelope.attempts or 0) <= MOST_ATTEMPTS:
        raise UnreadablePayload(f"The payload counts its attempts below 0, or beyond {MOST_ATTEMPTS:,}.")
    return envelope


def read_json(text: bytes | msgspec.Raw) -> Any:
    """JSON by itself, as `read` takes it within a payload.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: it is none.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            return _loads(bytes(text))
        except ValueError:
            raise error from None


def _read_leniently(payload: bytes) -> Envelope:
    """With halves of surrogate pairs in its texts, which a job may want to answer itself."""
    fields = _loads(payload)
    if not isinstance(fields, dict):
        return msgspec.convert(fields, Envelope)  # which says why not
    data = fields.pop("data", None)
    envelope = msgspec.convert(fields, Envelope)
    envelope.raw = msgspec.Raw(json.dumps(data).encode())
    return envelope


def _loads(text: bytes) -> Any:
    """As Python reads JSON, but for numbers that are none in JSON, or in no double."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _bound(payload: bytes) -> None:
    if len(payload) > MAX_BYTES:
        raise UnreadablePayload(f"The payload has {len(payload):,} bytes; the worker reads at most {MAX_BYTES:,}.")
    # A payload can't be deeper than it has opening brackets, which are counted fast.
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and _depth(payload) > MAX_DEPTH:
        raise UnreadablePayload(f"The payload is nested deeper than {MAX_DEPTH} levels.")


def _depth(payload: bytes) -> int:
    depth = deepest = 0
    for match in BRACKETS.finditer(payload):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


def has_as_id(payload: bytes, key: bytes) -> bool:
    """Whether a payload's `id` is this text, as that of a job which was dispatched with it as its key."""
    # As `write` leaves it: behind the data, which may be long.
    if payload.endswith(b'"id":"%b","attempts":0,"delay":null}' % key):
        return True
    try:
        id = read(payload).id
    except UnreadablePayload:
        return False
    return id is not None and str(id).encode("utf-8", "surrogatepass") == key


def new_id() -> str:
    """32 random characters, as the payload's `id` and a message's key."""
    return _entropy.take().hex()


def new_uuid() -> str:
    """A UUID of version 4 (RFC 9562, section 5.4)."""
    digits = _entropy.take().hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def write(
    name: str,
    data: object,
    *,
    id: str,
    max_tries: int | None = None,
    backoff: str | None = None,
    timeout: float | None = None,
) -> bytes:
    """A string job's payload: Laravel 13's keys in Laravel's order.

    Raises:
        TypeError, ValueError, RecursionError: `data` holds what JSON can't.
    """
    envelope = {
        "uuid": new_uuid(),
        "displayName": name.partition("@")[0],
        "job": name,
        "maxTries": max_tries,
        "maxExceptions": None,
        "failOnTimeout": False,
        "backoff": backoff,
        "timeout": timeout,
        "data": data,
        "createdAt": int(time.time()),
        "id": id,
        "attempts": 0,
        "delay": None,
    }
    return msgspec.json.encode(envelope)
