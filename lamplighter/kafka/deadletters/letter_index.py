"""The letters that are still to be dealt with, as far as a topic was read: an index in memory, the rest in a file."""

import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO

import msgspec

from lamplighter.kafka.deadletters.letter import Letter
from lamplighter.queue.failed import EVERY, FailedJob, FailedRecord, Wanted
from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever

IN_MEMORY = 16 * 1024 * 1024  # bytes of letters until they go into a temporary file

_decoder = msgspec.msgpack.Decoder(FailedJob)
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class LetterVersion:
    """What tells the letters of a message from later ones.

    Attributes:
        id: what the newest of them asks to be called.
        offsets: by partition, where the last one stands.
    """

    identity: str
    id: str
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter of the topic, and where it lies in the file.

    Attributes:
        id: what it asks to be called.
        claimed_at: when this message first asked for that; None where another one of the partition had it then.
    """

    place: int
    size: int
    offset: int
    id: str
    queue: str
    origin: str | None
    failed_at: datetime
    claimed_at: datetime | None


class LetterIndex:
    """Letters of one connection by their identity, and by partition where a message has failed in more than one.

    A letter is called by the id that it asks for, unless another one has it: then it keeps its identity as its id,
    also when the other one is gone.
    """

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  # ends with us
        self._finalizer = weakref.finalize(self, self._file.close)
        watch(self, in_child=LetterIndex._leave_the_file)
        self._end = 0
        self._letters: dict[str, dict[int, Kept]] = {}
        self._claims: Counter[tuple[int, str]] = Counter()

    def put(self, letter: Letter, partition: int, offset: int) -> None:
        """Keep a letter, in place of an older one of the same message."""
        job = letter.job
        data = _encoder.encode(job)
        self._file.seek(self._end)
        self._file.write(data)
        letters = self._letters.setdefault(letter.identity, {})
        claimed_at = self._claim(job, partition, letters.get(partition))
        letters[partition] = Kept(
            self._end, len(data), offset, job.id, job.queue, job.origin, job.failed_at, claimed_at
        )
        self._end += len(data)

    def settle(self, identity: str, partition: int, *, until: int) -> None:
        """A mark was read: the letters of this message in this partition are dealt with, up to this offset."""
        if not self.has(identity, partition, until=until):
            return
        letters = self._letters[identity]
        self._unclaim(partition, letters.pop(partition).id)
        if not letters:
            del self._letters[identity]

    def forget(self, partition: int) -> None:
        """Nothing is known of a partition any more."""
        for identity, letters in [*self._letters.items()]:
            if (kept := letters.pop(partition, None)) is not None:
                self._unclaim(partition, kept.id)
            if not letters:
                del self._letters[identity]

    def has(self, identity: str, partition: int, *, until: int) -> bool:
        """Whether the letter of a message in a partition is one of those up to this offset."""
        kept = self._letters.get(identity, {}).get(partition)
        return kept is not None and kept.offset <= until

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """Every message that has letters, the newest first, or those with these ids, in this order."""
        names = self._names()
        if ids is not None:
            identities = {name: identity for identity, name in names.items()}
            return iter([self._record(identities[id], id) for id in dict.fromkeys(ids) if id in identities])
        # Their order is made of times alone: a record of each would take much more memory.
        order = sorted(names, key=lambda identity: _newest(self._letters[identity]).failed_at, reverse=True)
        found = (self._record(identity, names[identity]) for identity in order if identity in self._letters)
        return filter(wanted.has, found)

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The letters of these records as failed jobs, but for those that were dealt with or followed by others."""
        for record in records:
            letters = self._letters.get(record.version.identity)
            if letters is None or _offsets(letters) != record.version.offsets:
                continue
            kept = _newest(letters)
            self._file.seek(kept.place)
            job = _decoder.decode(self._file.read(kept.size))
            yield replace(job, id=record.id, version=record.version)

    def _record(self, identity: str, name: str) -> FailedRecord:
        letters = self._letters[identity]
        kept = _newest(letters)
        return FailedRecord(
            id=name,
            connection=self._connection,
            queue=kept.queue,
            origin=kept.origin,
            failed_at=kept.failed_at,
            version=LetterVersion(identity, kept.id, _offsets(letters)),
        )

    def _leave_the_file(self) -> None:
        """In a child: closing the file would write once more what the parent has in its buffer."""
        self._finalizer.detach()
        keep_for_ever(self._file)

    # what a letter is called ───────────────────────────────────────────────────────────────────────────────────────

    def _claim(self, job: FailedJob, partition: int, older: Kept | None) -> datetime | None:
        """Since when a letter may have the id that it asks for; None while others of its partition had it before.

        One partition is always read in the same order, so that every process finds the same.
        """
        if older is not None:
            if older.id == job.id:
                return older.claimed_at
            self._unclaim(partition, older.id)
        is_taken = self._claims[partition, job.id] > 0
        self._claims[partition, job.id] += 1
        return None if is_taken else job.failed_at

    def _unclaim(self, partition: int, id: str) -> None:
        self._claims[partition, id] -= 1
        if not self._claims[partition, id]:
            del self._claims[partition, id]

    def _names(self) -> dict[str, str]:
        """What each message is called, by its identity; no two have one name."""
        owners: dict[str, tuple[datetime, str]] = {}
        for identity, letters in self._letters.items():
            claim = self._claim_of(identity, letters)
            if claim is not None:
                id, claimed_at = claim
                owners[id] = min(owners.get(id, (claimed_at, identity)), (claimed_at, identity))
        names = {identity: identity for identity in self._letters}
        names.update({identity: id for id, (_, identity) in owners.items()})
        return names

    def _claim_of(self, identity: str, letters: Mapping[int, Kept]) -> tuple[str, datetime] | None:
        """The id that a message may have, unless an earlier one in another partition has it, and since when."""
        id = _newest(letters).id
        if id != identity and id in self._letters:
            return None  # a sender has taken the identity of another message for a uuid
        times = [kept.claimed_at for kept in letters.values() if kept.id == id]
        known = [at for at in times if at is not None]
        return (id, min(known)) if len(known) == len(times) else None


def _newest(letters: Mapping[int, Kept]) -> Kept:
    return max(letters.values(), key=lambda kept: kept.failed_at)


def _offsets(letters: Mapping[int, Kept]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((partition, kept.offset) for partition, kept in letters.items()))
