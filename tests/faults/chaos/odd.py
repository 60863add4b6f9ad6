"""Messages that no dispatch of ours writes: what other programs may put onto a topic."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.faults.chaos.numbering import mark
from tests.faults.chaos.plan import Order, Raw

Headers = Sequence[tuple[bytes, bytes | None]]
Make = Callable[[random.Random, Order], Order]
NAMES = (b"caf\xe9", b"x-trace", b"", b"a\x00b", b"\xff\xfe", "größe".encode(), b"x-claim", b"lamplighter-delay")


def odd_headers(chance: random.Random, order: Order) -> Order:
    """A job whose headers have names that are no UTF-8, or none, twice, and without a value."""
    names = [chance.choice(NAMES) for _ in range(chance.randint(1, 5))]
    headers = [(name, chance.choice((b"v", b"\xff\x00", b"", None))) for name in names]
    return _raw(order, _job(order), b"key-%d" % order.n, headers)


def without_key(chance: random.Random, order: Order) -> Order:
    """A job without a key, or with an empty one, which no order keeps."""
    return _raw(order, _job(order), chance.choice((None, b"")))


def binary_key(chance: random.Random, order: Order) -> Order:
    """A job whose key is no text."""
    return _raw(order, _job(order), b"\xff\xfe" + chance.randbytes(4))


def older(chance: random.Random, order: Order) -> Order:
    """A job as older Laravels write it: fewer keys, a method behind its name."""
    return _raw(order, json.dumps({"job": "chaos@handle", "data": {"n": order.n}, "attempts": 0}).encode(), b"old")


def no_json(chance: random.Random, order: Order) -> Order:
    """Bytes that are nothing."""
    return _failing(order, mark(order.n) + chance.randbytes(chance.randint(0, 60)))


def no_payload(chance: random.Random, order: Order) -> Order:
    """JSON that is no payload."""
    body: Any = chance.choice(
        ([1, 2], "text", 7, None, {}, {"job": 7, "data": {}}, {"job": "chaos", "data": 7, "attempts": -1})
    )
    return _failing(order, json.dumps(body).encode(), headers=[(b"who", mark(order.n))])


def deep(chance: random.Random, order: Order) -> Order:
    """JSON that is nested deeper than anybody reads."""
    return _failing(
        order, b'{"job":"chaos","data":' + b"[" * 600 + b"]" * 600 + b"}", headers=[(b"who", mark(order.n))]
    )


def tombstone(chance: random.Random, order: Order) -> Order:
    """A message without a value."""
    return _failing(order, chance.choice((None, b"")), key=mark(order.n))


def unknown(chance: random.Random, order: Order) -> Order:
    """A job that nobody has registered."""
    name = chance.choice(("os.system", "chaos.nobody", "Illuminate\\Queue\\CallQueuedHandler@call", "\u0000"))
    return _failing(order, json.dumps({"job": name, "data": {"n": order.n}}).encode())


def no_fields(chance: random.Random, order: Order) -> Order:
    """Data that don't fit the job's fields."""
    data = chance.choice(({"lane": 7}, {"n": "many"}, [1], "text", {"does": {"sleep": "long"}}))
    return _failing(order, json.dumps({"job": "chaos", "data": data}).encode(), headers=[(b"who", mark(order.n))])


def one_uuid(chance: random.Random, order: Order) -> Order:
    """A job that fails, whose uuid others have as well."""
    body = {"uuid": "11111111-1111-4111-8111-111111111111", "job": "chaos.nobody", "data": {"n": order.n}}
    return _failing(order, json.dumps(body).encode())


ODD: tuple[Make, ...] = (
    *(odd_headers, odd_headers, without_key, binary_key, older),
    *(no_json, no_payload, deep, tombstone, unknown, no_fields, one_uuid),
)


def _job(order: Order) -> bytes:
    return json.dumps({"job": "chaos", "data": {"n": order.n}, "attempts": 0, "maxTries": None}).encode()


def _failing(order: Order, value: bytes | None, *, key: bytes | None = b"odd", headers: Headers = ()) -> Order:
    return replace(_raw(order, value, key, headers), fate="fails")


def _raw(order: Order, value: bytes | None, key: bytes | None, headers: Headers = ()) -> Order:
    told = tuple((name.hex(), None if content is None else content.hex()) for name, content in headers)
    raw = Raw(value=None if value is None else value.hex(), key=None if key is None else key.hex(), headers=told)
    return replace(order, way="raw", job="chaos", raw=raw)
