"""The letters that are still to be dealt with, as far as a topic was read: an index in memory, the rest in a file."""

import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO

import msgspec

from lamplighter.kafka.deadletters.letter import Letter
from lamplighter.queue.failed import FailedJob

IN_MEMORY = 16 * 1024 * 1024  # bytes of letters until they go into a temporary file

_decoder = msgspec.msgpack.Decoder(FailedJob)
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a letter lies in the file."""

    place: int
    size: int
    id: str
    failed_at: datetime


class Shelf:
    """Letters by their identity, and by partition where a message has failed in more than one of them."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  # ends with us
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._letters: dict[str, dict[int, Kept]] = {}
        self._claims: dict[str, set[str]] = defaultdict(set)

    def put(self, letter: Letter, partition: int) -> None:
        """Keep a letter, in place of an older one of the same message."""
        data = _encoder.encode(letter.job)
        self._file.seek(self._end)
        self._file.write(data)
        kept = Kept(self._end, len(data), letter.job.id, letter.job.failed_at)
        self._end += len(data)
        self._letters.setdefault(letter.identity, {})[partition] = kept
        self._claims[kept.id].add(letter.identity)

    def settle(self, identity: str, partition: int) -> None:
        """A mark was read: the letters of this message before it, in its partition, are dealt with."""
        letters = self._letters.get(identity, {})
        kept = letters.pop(partition, None)
        if kept is None:
            return
        if not any(other.id == kept.id for other in letters.values()):
            self._claims[kept.id].discard(identity)
        if not letters:
            del self._letters[identity]

    def partitions(self, identity: str) -> list[int]:
        """Where a message has letters."""
        return list(self._letters.get(identity, ()))

    def identity(self, id: str) -> str | None:
        """The message with this id; an id that two of them claim is nobody's, and each goes by its identity."""
        claims = self._claims.get(id, ())
        if len(claims) == 1:
            return next(iter(claims))
        return id if id in self._letters else None

    def ids(self) -> list[str]:
        """The ids of all letters, the newest first."""
        return [self._shown(identity) for identity in self.identities()]

    def identities(self, *, until: datetime | None = None) -> list[str]:
        """All messages that have letters, the newest first, or those that had failed by then."""
        newest = {identity: self._newest(identity).failed_at for identity in self._letters}
        found = [identity for identity, at in newest.items() if until is None or at <= until]
        return sorted(found, key=newest.__getitem__, reverse=True)

    def job(self, identity: str) -> FailedJob:
        """The letter as a failed job."""
        kept = self._newest(identity)
        self._file.seek(kept.place)
        job = _decoder.decode(self._file.read(kept.size))
        return replace(job, id=self._shown(identity))

    def all(self) -> Iterator[FailedJob]:
        """Every letter, the newest first."""
        return map(self.job, self.identities())

    def _newest(self, identity: str) -> Kept:
        return max(self._letters[identity].values(), key=lambda kept: kept.failed_at)

    def _shown(self, identity: str) -> str:
        id = self._newest(identity).id
        return id if len(self._claims[id]) == 1 else identity
