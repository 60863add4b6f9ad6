"""The failed jobs of connections that have dead-letter topics: in the table, in the topic, or in both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.queue.failed import FailedJob, FailedJobs, FailedRecord, Failure, NullFailedJobs


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

    def records(self, *, ids: Sequence[str] | None = None, until: datetime | None = None) -> list[FailedRecord]:
        """Every failed job, the newest first, or those with these ids, in this order; one in two places is told once.

        A topic that can't be read is raised, before a job is put back that has a letter there.
        """
        # A row is written before its letter: in this order few rows are read whose letters are not.
        rows = self._table.records(ids=ids)
        letters = [letter for topic in self._topics.values() for letter in topic.records()]
        if ids is not None:
            letters = [letter for letter in letters if not _names(letter).isdisjoint(ids)]
            more = {name for letter in letters for name in _names(letter)}.difference(ids)
            rows += self._table.records(ids=[*more])
            return _called(ids, _joined(rows, letters))
        found = [record for record in _joined(rows, letters) if until is None or record.failed_at <= until]
        return sorted(found, key=lambda record: record.failed_at, reverse=True)

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
    for letter in (letter for left in waiting.values() for letter in left):
        # While the table was switched off, the letter of another message may have got the id that a row has now.
        id = letter.version.identity if letter.id in taken else letter.id
        found.append(replace(letter, id=id, version=Places(None, letter)))
    return found


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
