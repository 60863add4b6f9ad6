"""What a store has to do with jobs that are due later, where it can find them."""

import json
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lamplighter.contracts import HeldJob
from lamplighter.support.strings import is_utf8

LACKS = {
    "held": "Its driver counts the jobs that are due later, and can't list them.",
    "cancel": "Its driver can't find a job by its id.",
}


@runtime_checkable
class FindsDelayed(Protocol):
    """The part of a `JobStore` that lists and takes back delayed jobs: new ones, and those that wait for a retry.

    A store without it lacks `held` and `cancel`; its `lacks` may say why.
    """

    def held(self, most: int) -> Sequence[HeldJob]:
        """The jobs of all queues that are due later, the earliest first."""
        ...

    def cancel(self, id: str) -> int:
        """Delete the jobs that are due later and have this id; how many. What is due, or was taken, stays.

        An id is that of a `HeldJob`, or the payload's own, which several jobs may share.
        """
        ...


def spellings_of(id: str) -> list[str]:
    """How an id may stand in a payload's JSON: as it is, as PHP escapes it, as Python does."""
    plain, escaped = json.dumps(id, ensure_ascii=False)[1:-1], json.dumps(id)[1:-1]
    texts = (plain, plain.replace("/", "\\/"), escaped, escaped.replace("/", "\\/"))
    return [text for text in dict.fromkeys(texts) if is_utf8(text)]


def is_called(payload: bytes, id: str) -> bool:
    """Whether this is the id of a payload: its `id`, or its `uuid`."""
    try:
        fields = json.loads(payload)
        return id in (str(fields.get("id") or ""), str(fields.get("uuid") or ""))
    except (ValueError, AttributeError, RecursionError):
        return False
