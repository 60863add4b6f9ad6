"""What comes out of a connection as it was put in: payloads, keys and headers, or a refusal."""

import json
from collections.abc import Callable

import pytest

from lamplighter.contracts import Message, WorkQueue
from lamplighter.errors import QueueError, Unavailable
from lamplighter.testing.conformance.base import needs
from lamplighter.testing.conformance.bytes import HOSTILE, KEYS, payload_with
from lamplighter.testing.conformance.hands import OnQueues, Open


class CarryingConformance(OnQueues):
    """A part of `QueueConformance`: nothing is dropped in silence."""

    @needs("two workers")
    @pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
    def test_any_bytes_are_refused_or_come_as_they_were_pushed(
        self, connect: Callable[[], WorkQueue], opened: Open, queues: tuple[str, str], raw: bytes
    ) -> None:
        try:
            connect().push(Message(raw), queue=queues[0])
        except Unavailable:
            raise
        except QueueError:
            return

        delivery = opened().pop()

        assert delivery.payload == raw
        assert delivery.queue == queues[0]
        assert delivery.position
        delivery.delete()

    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    @pytest.mark.parametrize("push", ["push", "bulk"])
    def test_a_key_is_refused_or_comes_as_it_was_pushed(
        self, opened: Open, queues: tuple[str, str], key: bytes | None, push: str
    ) -> None:
        hand = opened()
        pushed, refusal = Message(payload_with(key), key), ""
        try:
            if push == "push":
                hand.queue.push(pushed, queue=queues[0])
            else:
                hand.queue.bulk([pushed], queue=queues[0])
        except Unavailable:
            raise
        except QueueError as error:
            refusal = str(error)
        if refusal:
            assert key is not None
            assert "key" in refusal
            assert hand.look(0.1) is None
            return

        delivery = hand.pop()

        # Where nothing travels beside a payload, the key is what the payload says of itself.
        told = json.loads(delivery.payload)["id"].encode() if delivery.key is None else delivery.key
        assert delivery.key is None if key is None else told == key
        delivery.delete()

    def test_headers_are_refused_or_come_as_they_were_pushed(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened()
        headers, refusal = (("name", b"value"),), ""
        try:
            hand.queue.push(Message(payload_with(None), headers=headers), queue=queues[0])
        except Unavailable:
            raise
        except QueueError as error:
            refusal = str(error)
        if refusal:
            assert "name" in refusal
            assert hand.look(0.1) is None
            return

        delivery = hand.pop()

        assert tuple(delivery.headers)[:1] == headers
        delivery.delete()
