"""The jobs of all queues that are due later: those of every sorted set `:delayed`."""

import hashlib
import heapq
import re
from collections.abc import Iterator
from itertools import islice

from lamplighter.contracts import HeldJob
from lamplighter.queue.drivers.leasing.delayed import is_called, spellings_of
from lamplighter.queue.drivers.redis import scripts
from lamplighter.queue.drivers.redis.calls import Calls
from lamplighter.queue.jobs.naming import id_and_name

PAGE = 50  # payloads in memory at a time
LOOKED_AT = 500  # payloads that one call goes through
DIGEST = re.compile(r"[0-9a-f]{40}")
END = b":delayed"


class DelayedSets:
    """Nothing tells which queues there are, so that the names of all keys are gone through.

    A job has no name of its own in Redis: its id is the queue and a digest of its payload.
    """

    def __init__(self, calls: Calls, prefix: str) -> None:
        self._calls = calls
        self._start = f"{prefix}queues:".encode()

    def held(self, most: int) -> list[HeldJob]:
        """The earliest first."""
        queues = [self._held(key) for key in self._keys()]
        return list(islice(heapq.merge(*queues, key=lambda job: job.due), most))

    def cancel(self, id: str) -> int:
        """Remove those that are called so; how many."""
        queue, _, digest = id.rpartition("#")
        if queue and DIGEST.fullmatch(digest):
            key = self._start + queue.encode("utf-8", "surrogateescape") + END
            if count := self._cancel(key, list(self._find(key, digest))):
                return count
        return sum(self._cancel(key, self._called(key, id)) for key in self._keys())

    def _keys(self) -> list[bytes]:
        return sorted(self._calls.sorted_sets(self._start, END))

    def _held(self, key: bytes) -> Iterator[HeldJob]:
        queue = key[len(self._start) : -len(END)].decode("utf-8", "replace")
        score, passed = b"", 0
        while True:
            found = self._calls.run(scripts.held, [key], [score, passed, PAGE])
            pairs = list(zip(found[::2], found[1::2], strict=True))
            for payload, due in pairs:
                passed = passed + 1 if due == score else 1
                score = due
                job_id, name = id_and_name(payload)
                digest = hashlib.sha1(payload, usedforsecurity=False).hexdigest()
                yield HeldJob(f"{queue}#{digest}", job_id, name, queue, float(due), can_cancel=True)
            if len(pairs) < PAGE:
                return

    def _called(self, key: bytes, id: str) -> list[bytes]:
        texts = [text.encode() for text in spellings_of(id)]
        return [member for member in self._find(key, "", *texts) if is_called(member, id)]

    def _find(self, key: bytes, digest: str, *texts: bytes) -> Iterator[bytes]:
        passed, count = 0, LOOKED_AT
        while count == LOOKED_AT:
            count, *members = self._calls.run(scripts.find, [key], [passed, LOOKED_AT, digest, *texts])
            passed += count
            yield from members

    def _cancel(self, key: bytes, members: list[bytes]) -> int:
        return int(self._calls.run(scripts.cancel, [key], members)) if members else 0
