"""Stores that break one promise each, and the test of the suite that has to see it; `test_conformance.py` runs them."""

import dataclasses
import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from lamplighter.contracts import Message, Sizes
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore, Lease, Taken
from lamplighter.queue.drivers.memory import Kept, Line, MemoryStore
from lamplighter.testing import waiting

waiting.LONG = 1.0  # before the suite is imported: nobody waits long for what never comes

from lamplighter.testing.conformance import Conformance, QueueConformance, StoreConformance  # noqa: E402

LEASE = 0.4


class Sound(MemoryStore):
    """Breaks no promise; its answers can be lost."""

    sees: ClassVar[str] = ""
    patience: ClassVar[float] = 20.0

    def __init__(self) -> None:
        super().__init__(seconds=LEASE)
        self.loses = False
        self.lost: Sequence[Lease] = ()

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Give out once more what nobody has heard of."""
        if self.lost:
            super().take((), 0, ended)
            again, self.lost = self.lost, ()
            return Taken(again)
        taken = super().take(queues, most, ended)
        if self.loses:
            self.lost = taken.leases
            raise Unavailable("the answer is lost")
        return taken


class LosesAnswers(Sound):
    """What a lost answer told is begun a second time, when its lease is over."""

    sees = "test_a_lost_answer_costs_a_job_no_start"

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Know nothing of lost answers."""
        self.lost = ()
        return super().take(queues, most, ended)


class HurriesDelays(Sound):
    """A job that is due later comes early."""

    sees = "test_a_delayed_job_is_never_early"

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them."""
        super().push(queue, messages, delay * 0.7)


class Truncates(Sound):
    """A column that is too short."""

    sees = "test_a_payload_may_have_a_million_bytes"

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them."""
        super().push(queue, [Message(one.payload[:65536], one.key, one.headers) for one in messages], delay)


class CutsAtZero(Sound):
    """A text of C."""

    sees = "test_any_bytes_are_refused_or_come_as_they_were_pushed"

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them."""
        super().push(queue, [Message(one.payload.split(b"\0")[0], one.key, one.headers) for one in messages], delay)


class DropsHeaders(Sound):
    """It says that it keeps them."""

    sees = "test_key_and_headers_travel_where_the_store_says_so"

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them."""
        super().push(queue, [Message(one.payload) for one in messages], delay)


class LosesOneOfMany(Sound):
    """An error of one by one."""

    sees = "test_many_jobs_are_pushed_and_each_is_popped_by_one_of_two_workers"

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them."""
        super().push(queue, messages[:-1] if len(messages) > 100 else messages, delay)


class Buffers(Sound):
    """What was pushed is kept when something else is asked for, by the same process."""

    sees = "test_whoever_waits_for_news_hears_it_or_comes_back_in_time"

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them nowhere."""


class GivesTheLastFirst(Sound):
    """A stack."""

    sees = "test_jobs_come_in_the_order_of_their_pushes"

    def _place(self, kept: Kept, now: float, delay: float) -> None:
        super()._place(kept, now, delay)
        if not delay:
            self._lines[kept.queue].ready.rotate(1)


class GivesTooMany(Sound):
    """It does not count."""

    sees = "test_what_ends_and_what_begins_are_told_in_one_call"

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take more."""
        return super().take(queues, most + 2 if most else 0, ended)


class HasNoPriority(Sound):
    """The last queue first."""

    sees = "test_a_later_queue_waits_while_an_earlier_one_has_a_job"

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take in the wrong order."""
        return super().take(tuple(reversed(queues)), most, ended)


class GivesOneJobToTwo(Sound):
    """It reads, and writes later."""

    sees = "test_a_job_is_given_to_one_of_those_who_ask_at_once"

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Read, let others read, write."""
        line = self._lines.get(queues[0]) if queues else None
        seen = list(line.ready)[:most] if line else []
        threading.Event().wait(0.002)
        with self._changed:
            now = time.monotonic()
            for end in ended:
                self._settle(end, now)
            for kept in seen:
                if line is not None and kept in line.ready:
                    line.ready.remove(kept)
            return Taken([self._begin(kept, line, now) for kept in seen if line is not None])


class GivesNothingBackOfTheDead(Sound):
    """A lease never runs out."""

    sees = "test_a_lease_that_ran_out_is_anothers_and_its_late_end_changes_nothing"

    def _refresh(self, line: Line, now: float) -> None:
        while line.delayed and line.delayed[0][0] <= now:
            line.ready.append(heapq.heappop(line.delayed)[2])


class HearsLateEnds(Sound):
    """An end counts whoever has the job by now."""

    sees = "test_a_lease_that_ran_out_is_anothers_and_its_late_end_changes_nothing"

    def _settle(self, end: Ended, now: float) -> None:
        kept, _ = end.lease.handle
        super()._settle(end._replace(lease=dataclasses.replace(end.lease, handle=(kept, kept.reservation))), now)


class ForgetsStartsOfTheDead(Sound):
    """The start of a worker that has died does not count."""

    sees = "test_a_lease_that_ran_out_is_anothers_and_its_late_end_changes_nothing"

    def _refresh(self, line: Line, now: float) -> None:
        for kept in [kept for kept, until in line.reserved.items() if until <= now]:
            kept.starts = 0
        super()._refresh(line, now)


class RenewsNothing(Sound):
    """It says that the lease was renewed."""

    sees = "test_a_lease_that_is_renewed_lasts"

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Say so."""
        return []


class SaysThatLostLeasesHold(Sound):
    """It renews those that it finds."""

    sees = "test_a_lease_that_ran_out_is_anothers_and_its_late_end_changes_nothing"

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Say that none is lost."""
        super().renew(leases)
        return []


class CountsNoStart(Sound):
    """Each start is the first."""

    sees = "test_a_release_counts_its_start_and_is_never_early"

    def _begin(self, kept: Kept, line: Line, now: float) -> Lease:
        kept.starts = 0
        return super()._begin(kept, line, now)


class Settles(Sound):
    """Treats one kind of end in another way."""

    how: ClassVar[How]

    def _settle(self, end: Ended, now: float) -> None:
        if end.how is self.how:
            self._wrongly(end, now)
        else:
            super()._settle(end, now)

    def _wrongly(self, end: Ended, now: float) -> None:
        raise NotImplementedError


class DeletesNothing(Settles):
    """What is done runs again when its lease is over."""

    sees = "test_of_jobs_in_hand_those_that_are_not_deleted_outlive_their_worker"
    how = How.DELETED

    def _wrongly(self, end: Ended, now: float) -> None:
        pass


class LosesReleased(Settles):
    """What is released is deleted."""

    sees = "test_an_end_that_is_told_twice_ends_once"
    how = How.RELEASED

    def _wrongly(self, end: Ended, now: float) -> None:
        super()._settle(end._replace(how=How.DELETED), now)


class LosesGivenBack(LosesReleased):
    """What is given back is deleted."""

    how = How.GIVEN_BACK


class LosesExcused(LosesReleased):
    """What is excused is deleted."""

    how = How.EXCUSED


class HurriesReleases(Settles):
    """A retry comes early."""

    sees = "test_a_release_counts_its_start_and_is_never_early"
    how = How.RELEASED

    def _wrongly(self, end: Ended, now: float) -> None:
        super()._settle(end._replace(delay=end.delay * 0.7), now)


class CountsExcused(Settles):
    """A start that is excused counts."""

    sees = "test_an_excused_start_does_not_count"
    how = How.EXCUSED

    def _wrongly(self, end: Ended, now: float) -> None:
        MemoryStore._settle(self, end._replace(how=How.RELEASED), now)


class CountsGivenBack(CountsExcused):
    """A start that was none counts."""

    sees = "test_what_is_given_back_has_not_been_started"
    how = How.GIVEN_BACK


class PutsGivenBackLast(CountsExcused):
    """What is given back stands behind all others."""

    sees = "test_what_is_given_back_has_not_been_started"
    how = How.GIVEN_BACK

    def _wrongly(self, end: Ended, now: float) -> None:
        MemoryStore._settle(self, end._replace(how=How.EXCUSED), now)


class DeletesAtItsEnd(Sound):
    """What a worker has in hand goes with it."""

    sees = "test_of_jobs_in_hand_those_that_are_not_deleted_outlive_their_worker"

    def close(self) -> None:
        """Forget what is in hand."""
        for line in self._lines.values():
            line.reserved.clear()


class ForgetsAtItsEnd(Sound):
    """Jobs go with the connection that has pushed them."""

    sees = "test_a_store_that_was_closed_has_kept_its_jobs"

    def close(self) -> None:
        """Forget all of them."""
        self._lines.clear()


class WaitsForEver(Sound):
    """A call without a timeout."""

    sees = "test_whoever_waits_for_news_hears_it_or_comes_back_in_time"

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Hang."""
        threading.Event().wait()
        return False


class HangsInACall(Sound):
    """A call without a timeout, of which the test does not expect that it takes time."""

    sees = "test_jobs_are_counted_by_what_they_wait_for"
    patience = 1.0

    def sizes(self, queue: str) -> Sizes:
        """Hang."""
        threading.Event().wait()
        return super().sizes(queue)


class CountsWrongly(Sound):
    """One too many."""

    sees = "test_jobs_are_counted_by_what_they_wait_for"

    def sizes(self, queue: str) -> Sizes:
        """Count."""
        return dataclasses.replace(super().sizes(queue), pending=super().sizes(queue).pending + 1)


class ClearsEveryQueue(Sound):
    """The name is not looked at."""

    sees = "test_a_queue_is_cleared_and_the_other_is_not"

    def clear(self, queue: str) -> int:
        """Forget all queues."""
        return sum(super(ClearsEveryQueue, self).clear(name) for name in list(self._lines))


class ClearsWhatIsReady(Sound):
    """What is due later stays, and what is in hand."""

    sees = "test_a_queue_is_cleared_of_what_waits_what_is_due_later_and_what_is_in_hand"

    def clear(self, queue: str) -> int:
        """Forget some."""
        line = self._lines.get(queue) or Line()
        count = len(line.ready)
        line.ready.clear()
        return count


class CancelsNothing(Sound):
    """It says so, and keeps the job."""

    sees = "test_a_job_that_is_due_later_is_cancelled_and_no_other"

    def cancel(self, id: str) -> int:
        """Say that it was one."""
        return 1


class ListsWhatIsLastFirst(Sound):
    """The wrong order."""

    sees = "test_jobs_that_are_due_later_are_listed_the_earliest_first"

    def held(self, most: int) -> Sequence[Any]:
        """List."""
        return list(reversed(super().held(most)))


class TellsAnotherTime(Sound):
    """Milliseconds taken for seconds."""

    sees = "test_the_time_of_a_push_is_told_or_unknown"

    def _begin(self, kept: Kept, line: Line, now: float) -> Lease:
        lease = super()._begin(kept, line, now)
        return dataclasses.replace(lease, timestamp_ms=(lease.timestamp_ms or 0) // 1000)


def faults() -> list[type[Sound]]:
    """Each store that breaks a promise."""

    def below(kind: type[Sound]) -> Iterator[type[Sound]]:
        for one in kind.__subclasses__():
            if one.sees:
                yield one
            yield from below(one)

    return sorted(below(Sound), key=lambda kind: kind.__name__)


class Seeded(Conformance):
    """The connection of a test has one store, of the kind that its class is made for."""

    lease = LEASE
    late = 1.0
    kind: ClassVar[type[Sound]] = Sound

    @pytest.fixture
    def connect_store(self) -> Callable[[], JobStore]:
        """The store of the test."""
        store = self.kind()
        return lambda: store

    @pytest.fixture
    def lose_answers(self) -> Any:
        """Let answers be lost."""

        @contextmanager
        def losing(store: Any) -> Iterator[None]:
            store.loses = True
            yield
            store.loses = False

        return losing

    @pytest.fixture
    def connect(self, connect_store: Callable[[], JobStore]) -> Iterator[Callable[[], LeasingQueue]]:
        """One more connection to the store of the test."""
        queues: list[LeasingQueue] = []

        def connect() -> LeasingQueue:
            queues.append(LeasingQueue("seeded", connect_store(), default_queue="default"))
            return queues[-1]

        yield connect
        for queue in queues:
            queue.close(timeout=1)


SUITES = (StoreConformance, QueueConformance)


def suite_of(test: str) -> type:
    """The class of the suite that has a test, the store's first."""
    return next(suite for suite in SUITES if hasattr(suite, test))


def make(kind: type[Sound], tests: set[str]) -> type:
    """A test class of nothing but these tests, for a kind of store."""
    bodies = {test: getattr(suite_of(test), test) for test in tests}
    # The fixtures of both suites; of their tests only those that are wanted.
    suites = tuple(type(suite.__name__, (suite,), {}) for suite in SUITES)
    hidden = {name: None for suite in SUITES for name in dir(suite) if name.startswith("test_")}
    return type(
        f"Test{kind.__name__}", (Seeded, *suites), {**hidden, **bodies, "kind": kind, "patience": kind.patience}
    )


globals().update({f"Test{kind.__name__}": make(kind, {kind.sees}) for kind in faults()})
TestSound = make(Sound, {kind.sees for kind in faults()})
