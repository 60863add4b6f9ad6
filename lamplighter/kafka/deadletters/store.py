"""The failed jobs of connections that have dead-letter topics: in the table, in the topic, or in both."""

import heapq
from collections.abc import Iterator, Mapping

from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.queue.failed import FailedJob, FailedJobs, Failure, NullFailedJobs


class DeadLetterFailedJobs:
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

    def all(self) -> Iterator[FailedJob]:
        """Every job, the newest first; one that is in two places is told once."""
        seen = set()
        places = [self._table.all(), *(topic.all() for topic in self._topics.values())]
        for job in heapq.merge(*places, key=lambda job: job.failed_at, reverse=True):
            if job.id not in seen:
                seen.add(job.id)
                yield job

    def ids(self) -> list[str]:
        """The ids of every job: those of the table, then those that are in a topic alone, each the newest first."""
        places = [self._table.ids(), *(topic.ids() for topic in self._topics.values())]
        return list(dict.fromkeys(id for ids in places for id in ids))

    def find(self, id: str) -> FailedJob | None:
        """One job, from the table where that has it; a topic that can't be read is raised before a job is put back."""
        found = self._table.find(id)
        letters = [topic.find(id) for topic in self._topics.values()]
        return found or next((job for job in letters if job is not None), None)

    def forget(self, id: str) -> bool:
        """Delete one job from wherever it is; whether it was anywhere."""
        # The topics first: what they refuse can be done again, with the row still there to show that it must be.
        told = [topic.forget(id) for topic in self._topics.values()]
        return self._table.forget(id) or any(told)

    def flush(self, *, hours: float | None = None) -> int:
        """Delete all jobs, or those that failed at least so many hours ago; how many."""
        told = [topic.flush(hours=hours) for topic in self._topics.values()]
        return max(self._table.flush(hours=hours), sum(told))
