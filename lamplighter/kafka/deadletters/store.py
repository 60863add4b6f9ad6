"""The failed jobs of connections that have dead-letter topics: in the table, in the topic, or in both."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import chain

from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.queue.failed import (
    CHUNK,
    EVERY,
    FailedJob,
    FailedJobs,
    FailedRecord,
    Failure,
    NullFailedJobs,
    Wanted,
    parts,
)


@dataclass(frozen=True, slots=True)
class Places:
    """What was read of one failed job in each place; it is in one of them at least."""

    row: FailedRecord | None
    letter: FailedRecord | None


class DeadLetterFailedJobs(FailedJobs):
    """What config/queue.py says of failed jobs, and a topic beside it for each connection that names one.

    A job counts as recorded when each of its places has it. With `failed.driver` null the topic is the only one.
    """

    def __init__(self, table: FailedJobs, topics: Mapping[str, DeadLetters]) -> None:
        self.has_numbers = table.has_numbers
        self._table = table
        self._topics = topics

    def record(self, failure: Failure) -> str:
        """Keep a job in all its places; its id, which is the same in each."""
        topic = self._topics.get(failure.connection)
        if topic is None:
            return self._table.record(failure)
        # The table first: where the topic refuses all of it is tried again, and a row is replaced, a letter repeated.
        id = None if isinstance(self._table, NullFailedJobs) else self._table.record(failure)
        return topic.record(failure, id=id)

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """The failed jobs, the newest first, or those with these ids, in this order; one in two places is told once.

        A topic that can't be read is raised, before a job is put back that has a letter there.
        """
        return self._every(wanted) if ids is None else iter(self._named(ids))

    def _every(self, wanted: Wanted) -> Iterator[FailedRecord]:
        # A row is written before its letter: in this order few rows are read whose letters are not.
        rows = self._table.records(wanted)
        first = next(rows, None)
        beside, alone = self._sorted(letter for topic in self._topics.values() for letter in topic.records())
        every = rows if first is None else chain([first], rows)
        told = (replace(row, version=Places(row, _of_row(row, beside))) for row in every)
        # Rows come as they were written: where the clocks of hosts differ, this order is not quite that of the times.
        yield from merge(told, filter(wanted.has, alone), key=lambda record: record.failed_at, reverse=True)

    def _sorted(self, letters: Iterable[FailedRecord]) -> tuple[dict[str, FailedRecord], list[FailedRecord]]:
        """The letters that have rows beside them, by the ids of these, and the others."""
        beside: dict[str, FailedRecord] = {}
        alone = []
        for part in parts(letters, CHUNK):
            rows = {row.id: row for row in self._table.records(ids=[*{name for one in part for name in _asked(one)}])}
            for letter in part:
                row = rows.get(letter.version.id)
                if row is not None and row.id not in beside and _is_of(letter, row):
                    beside[row.id] = letter
                else:
                    alone.append(_alone(letter, is_taken=letter.id in rows))
        return beside, sorted(alone, key=lambda record: record.failed_at, reverse=True)

    def _named(self, ids: Sequence[str]) -> list[FailedRecord]:
        rows = [*self._table.records(ids=ids)]
        letters = [letter for topic in self._topics.values() for letter in topic.records()]
        letters = [letter for letter in letters if not _names(letter).isdisjoint(ids)]
        more = {name for letter in letters for name in _names(letter)}.difference(ids)
        rows += self._table.records(ids=[*more])
        return _called(ids, _joined(rows, letters))

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, in their order, each from the table where that has it."""
        rows = _Ahead(self._table.read([record.version.row for record in records if record.version.row is not None]))
        letters = {
            name: _Ahead(topic.read([record.version.letter for record in records if _is_alone_in(name, record)]))
            for name, topic in self._topics.items()
        }
        for record in records:
            row, letter = record.version.row, record.version.letter
            job = letters[letter.connection].take(letter) if row is None else rows.take(row)
            if job is not None:
                yield replace(job, id=record.id, version=record.version)

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Delete these from wherever they are, as far as they are there as they were read; how many."""
        # The topics first: what they refuse can be done again, with the row still there to show that it must be.
        count = 0
        for name, topic in self._topics.items():
            topic.forget([record.version.letter for record in records if _is_beside_a_row_in(name, record)])
            count += topic.forget([record.version.letter for record in records if _is_alone_in(name, record)])
        return count + self._table.forget([record.version.row for record in records if record.version.row is not None])


class _Ahead:
    """Jobs in the order of their records, some of which may have none any more."""

    def __init__(self, jobs: Iterator[FailedJob]) -> None:
        self._jobs = jobs
        self._next: FailedJob | None = None

    def take(self, record: FailedRecord) -> FailedJob | None:
        """The job of the next record."""
        job = self._next or next(self._jobs, None)
        is_of_it = job is not None and job.version == record.version
        self._next = None if is_of_it else job
        return job if is_of_it else None


def _joined(rows: Sequence[FailedRecord], letters: Sequence[FailedRecord]) -> list[FailedRecord]:
    """Row and letter of one failed job as one record, under the id that the row has."""
    waiting: dict[tuple[str, str, str, str | None], list[FailedRecord]] = {}
    for letter in letters:
        waiting.setdefault((letter.version.id, letter.connection, letter.queue, letter.origin), []).append(letter)
    found = []
    for row in rows:
        mine = waiting.get((row.id, row.connection, row.queue, row.origin))
        found.append(replace(row, version=Places(row, mine.pop(0) if mine else None)))
    taken = {row.id for row in rows}
    return found + [_alone(one, is_taken=one.id in taken) for left in waiting.values() for one in left]


def _alone(letter: FailedRecord, *, is_taken: bool) -> FailedRecord:
    """The record of a letter without a row.

    While the table was switched off, the letter of another message may have got the id that a row has now.
    """
    return replace(letter, id=letter.version.identity if is_taken else letter.id, version=Places(None, letter))


def _asked(letter: FailedRecord) -> tuple[str, str]:
    """What a letter asks to be called, and what it is called."""
    return letter.version.id, letter.id


def _is_of(letter: FailedRecord, row: FailedRecord) -> bool:
    """Whether the two are of one failed job; their ids are the same."""
    return (letter.connection, letter.queue, letter.origin) == (row.connection, row.queue, row.origin)


def _of_row(row: FailedRecord, letters: Mapping[str, FailedRecord]) -> FailedRecord | None:
    """The letter beside a row; another row may have taken its id meanwhile."""
    letter = letters.get(row.id)
    return letter if letter is not None and _is_of(letter, row) else None


def _called(ids: Sequence[str], records: Sequence[FailedRecord]) -> list[FailedRecord]:
    """Those of the records that have one of these ids, in this order, each once."""
    named: dict[str, FailedRecord] = {}
    for record in records:
        if record.version.row is None:
            # What a letter is called may change when another one is dealt with; its identity names it for ever.
            identity = record.version.letter.version.identity
            named.setdefault(identity, replace(record, id=identity))
    named.update({record.id: record for record in records})
    found: dict[Places, FailedRecord] = {}
    for id in ids:
        if id in named:
            found.setdefault(named[id].version, named[id])
    return [*found.values()]


def _names(letter: FailedRecord) -> set[str]:
    """All that a letter may be called."""
    return {letter.version.id, letter.version.identity}


def _is_alone_in(topic: str, record: FailedRecord) -> bool:
    return record.version.row is None and bool(record.version.letter.connection == topic)


def _is_beside_a_row_in(topic: str, record: FailedRecord) -> bool:
    letter = record.version.letter
    return record.version.row is not None and letter is not None and bool(letter.connection == topic)
