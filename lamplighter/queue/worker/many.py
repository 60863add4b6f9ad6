"""Jobs of one class that are handled in one call of its `handle_many`, and settled each on its own."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from lamplighter.contracts import Delivery, DriverDelivery, Events
from lamplighter.logging.context import job_context
from lamplighter.queue.delivery import Failed
from lamplighter.queue.events import JobProcessing
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.jobs.registry import Entry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.settling import Settling
from lamplighter.queue.worker.verdicts import Verdict

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024 * 1024  # of the payloads of one call


class Many(Start):
    """A call of `handle_many`: begun, limited and ended as one job, and settled as many.

    Attributes:
        starts: its jobs, in the order in which they came.
        refused: why some of them are not handled: a listener has raised before the call.
        errors: what the handler has returned for those that it was given; empty where all are done.
        verdicts: what was decided elsewhere about some of them.
        until: when it is begun though it could take more, on the monotonic clock.
    """

    def __init__(self, first: Start, entry: Entry, policy: Policy, *, most: int, until: float) -> None:
        super().__init__(first.delivery, policy)
        self.name = first.name
        self.envelope = first.envelope
        self.entry = entry
        self.job: Any = self  # what its entry's handler takes
        self.starts = [first]
        self.refused: dict[Start, BaseException] = {}
        self.errors: Sequence[BaseException | None] = ()
        self.verdicts: dict[Start, Verdict] = {}
        self.until = until
        self._of = first.entry
        self._most = most
        self._bytes = len(first.delivery.payload)

    @property
    def is_full(self) -> bool:
        """Whether no other job fits in."""
        return len(self.starts) >= self._most or self._bytes >= MOST_BYTES

    def takes(self, start: Start) -> bool:
        """Whether a job belongs into this call."""
        return start.entry is self._of and start.delivery.queue == self.delivery.queue and may_join(start)

    def add(self, start: Start) -> None:
        """One more job."""
        self.starts.append(start)
        self._bytes += len(start.delivery.payload)

    def handled(self) -> list[Start]:
        """The jobs that the handler is given."""
        return [start for start in self.starts if start not in self.refused] if self.refused else self.starts

    def jobs(self) -> list[Any]:
        """What the handler is given."""
        return [start.job for start in self.handled()]

    def deliveries(self) -> list[Delivery]:
        """Their deliveries, in the same order."""
        return [start.in_hand() for start in self.handled()]

    def keep(self) -> None:
        """They stay in hand while others are popped."""
        for start in self.starts:
            start.delivery.keep()


def begin_many(first: Start, runner: Runner, *, most: int) -> Many:
    """A call that has one job so far, and takes no more than `most`."""
    entry = first.entry
    assert entry is not None  # it has been read
    assert entry.many is not None
    until = time.monotonic() + entry.batch_wait
    many = Many(first, entry.many, runner.policy_of(entry), most=min(most, entry.batch_size), until=until)
    many.began = first.began
    return many


def may_gather(first: Start, *, once: bool) -> bool:
    """Whether a job may be run in one call with others that come."""
    # It was begun in a call that has failed, and this is the same attempt.
    first.is_told, first.delivery.singly = first.delivery.singly, False
    return not first.is_told and not once and may_join(first)


def tell_of(many: Many, events: Events) -> bool:
    """Tell that the jobs of a call begin; False when none of them is left to be handled."""
    if events.listeners(JobProcessing):
        for start in many.starts:
            try:
                events.dispatch(JobProcessing(start))
            except BaseException as error:
                many.refused[start] = tellable(error)  # it counts as the job's own
    return len(many.refused) < len(many.starts)


def may_join(start: Start) -> bool:
    """Whether a job may be begun among others: it has never been begun, as far as anybody knows."""
    entry, delivery = start.entry, start.delivery
    is_of_many = entry is not None and entry.many is not None
    return is_of_many and start.attempts == 1 and not delivery.singly and not delivery.is_suspect


def settle_many(many: Many, settling: Settling, error: BaseException | None, duration: float) -> None:
    """Settle each job of a call by what the call has said of it.

    When the call itself has failed, nobody knows which job is to blame: each is put back and begun by itself. That is
    the same attempt, so that none is charged for its neighbours. A service that is away is nobody's fault, and would
    fail each of them again.
    """
    is_broken = error is not None and not settling.excuses(many.starts, error)
    if is_broken:
        fields = {"job": many.name, "jobs": len(many.starts), "position": many.delivery.position}
        log.warning("a call of handle_many failed; its jobs are begun one by one", extra=fields, exc_info=error)
    told: dict[Start, BaseException | None] = {**dict.fromkeys(many.starts, error), **many.refused}
    if error is None and many.errors:
        returned = (one if one is None else tellable(one) for one in many.errors)
        told.update(zip(many.handled(), returned, strict=True))
    open_: list[DriverDelivery] = []
    back: list[DriverDelivery] = []
    for start in many.starts:
        delivery = start.delivery
        verdict = many.verdicts.get(start)
        is_decided = start.wish is not None or verdict is not None or start in many.refused
        if (is_broken and not is_decided) or _must_follow(start, verdict, open_):
            start.end()
            back.append(delivery)
            continue
        job_context.set(start)
        is_over = settling.obey(start, verdict, duration) if verdict else settling.settle(start, told[start], duration)
        if not is_over:
            open_.append(delivery)
    # The last one first, so that each stands before those that follow it.
    for delivery in reversed(back):
        delivery.singly = True
        delivery.put_back()
    job_context.set(None)


def _must_follow(start: Start, verdict: Verdict | None, open_: list[DriverDelivery]) -> bool:
    """Whether a job has to run after one of the same call that is to run again; one that was failed stays so."""
    if verdict is not None and verdict.kind == "again":
        return True
    has_failed = isinstance(start.wish, Failed) or (verdict is not None and verdict.kind in ("fail", "record", "hold"))
    return not has_failed and any(start.delivery.follows(other) for other in open_)
