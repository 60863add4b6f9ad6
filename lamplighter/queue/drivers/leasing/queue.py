"""A connection whose store leases jobs: what a worker pops from, and everybody pushes to."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from lamplighter.contracts import DriverDelivery, HasFurtherStart
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.claims.check import ClaimCheck
from lamplighter.queue.claims.claims import refuse_claim
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.drivers.leasing.held import Held
from lamplighter.queue.drivers.leasing.polling import GAP, NEVER, Polling
from lamplighter.queue.drivers.leasing.pushing import StoredJobs
from lamplighter.queue.drivers.leasing.renewing import Renewing
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore, Lease, Taken
from lamplighter.queue.drivers.leasing.turns import Turns
from lamplighter.queue.drivers.leasing.waking import Waking
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.guard.ending import within
from lamplighter.queue.weights import has_weights, parse_weights
from lamplighter.queue.worker.outages import Outages
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

ENDED = object()
ARRIVED = object()  # the token of news; any other token makes `pop` return
AWAY = 1.0  # seconds until a store that did not answer is asked again
LAST = 0.2  # seconds between two tries to tell it the last ends
UNHEARD = 2.0  # seconds in which a store that was away is asked, at the end, for jobs whose start it could not tell
LEFT = 1.0  # seconds that a job may wait here after it was taken: a worker that is paused or full leaves it to others


class LeasingQueue(StoredJobs):
    """Pops, settles and pushes by a `JobStore`.

    A job that has ended is told to the store together with the next start, in one call. A worker that is killed before
    that runs it again.
    """

    deadlock_wait = 1.0

    def __init__(
        self, connection: str, store: JobStore, *, default_queue: str, claims: ClaimCheck | None = None
    ) -> None:
        super().__init__(connection, store, default_queue=default_queue, claims=claims)
        self._paused: frozenset[str] = frozenset()
        self._looked_with = self._paused
        self._begin_anew()
        watch(self, in_child=LeasingQueue._begin_anew, locks=lambda queue: (queue._asking,))

    def _begin_anew(self) -> None:
        """In a child, too: the jobs in hand are the parent's."""
        self._asking = threading.Lock()
        self._bell: SimpleQueue[object] = SimpleQueue()
        self._slots = 1
        self._ready: deque[LeasedDelivery] = deque()
        self._in_hand: dict[LeasedDelivery, object] = {}  # in the order in which they were taken
        self._held = Held()
        self._ended: list[Ended] = []
        self._look_at = 0.0
        self._taken_at = 0.0
        self._news = 0
        self._is_away = False
        self._is_closing = False
        self._is_empty = False
        self._renewing: Renewing | None = None
        self._waking: Waking | None = None
        self._turns: Turns | None = None
        self._polling = Polling(self._store, self._adopt)
        self._outages = Outages()

    # popping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(
        self,
        names: Sequence[str],
        bell: SimpleQueue[object],
        has_further_start: HasFurtherStart | None = None,
        *,
        slots: int = 1,
    ) -> None:
        """Begin to renew leases, and to wait for news of the store.

        Where a queue has a weight, all have one; without any, the order of the names is strict.

        Raises:
            ConfigError: a weight is none, or a queue is named twice.
        """
        weights = parse_weights(names)
        self._turns = Turns(weights) if has_weights(names) else None
        self._bell = bell
        self._slots = slots
        self._is_closing = False
        self._renewing = Renewing(self._store, lambda: tuple(self._in_hand), self._look_after)
        self._polling = Polling(self._store, self._adopt)
        self._waking = Waking(self._polling.wait, lambda: self._going(tuple(weights)), self._on_news)
        self._renewing.start()
        self._waking.start()

    def pop(self, names: Sequence[str], wait: float) -> LeasedDelivery | None:
        """The next delivery, the first name first; None after `wait` seconds without one, or when the bell rang."""
        waking = self._waking
        if waking is None:
            raise QueueError(f"The connection {self.connection!r} is not open.")
        delivery = self._next(names)
        if delivery is not None or not wait:
            return delivery
        if self._claims is not None:
            self._claims.give_back()
        self._polling.awaited_until = NEVER
        try:
            return self._await(names, time.monotonic() + wait, waking)
        finally:
            self._polling.awaited_until = time.monotonic() + GAP

    def _await(self, names: Sequence[str], until: float, waking: Waking) -> LeasedDelivery | None:
        delivery = None
        while delivery is None:
            if not self._held.is_full:
                waking.begin()
            now = time.monotonic()
            if now >= until:
                return None
            left = min(until, self._look_at, self._held.next_due()) - now
            with suppress(Empty):
                if self._bell.get(timeout=max(0.0, left)) is not ARRIVED:
                    return None
            delivery = self._next(names)
        return delivery

    def pause(self, names: Collection[str]) -> None:
        """Take nothing from these queues, in place of those named before."""
        self._paused = frozenset(names)
        self._is_empty = False  # not known any more
        self._on_news()

    def serve(self, wait: float) -> None:
        """Wait until the bell rang: nothing that jobs push is under way."""
        with suppress(Empty):
            self._bell.get(timeout=wait)

    def is_exhausted(self) -> bool:
        """Whether the store had no further job when it was last asked, and none is left here, nor may come back."""
        return self._is_empty and self._looked_with is self._paused and not (self._in_hand or self._ended)

    def polled_at(self) -> float:
        """When the thread that renews leases was last alive, on the monotonic clock."""
        return time.monotonic() if self._renewing is None else self._renewing.looked_at

    def stall(self, *, is_busy: bool) -> str | None:
        """A store that is not asked for long is seen by the worker itself."""
        return None

    def read_claim(self, delivery: DriverDelivery) -> bytes:
        """The payload that was put aside for a delivery."""
        return refuse_claim(delivery) if self._claims is None else self._claims.read(delivery)

    def close(self, *, timeout: float) -> bool:
        """Give back what was not run, and tell what has ended; False where the store did not hear it in time.

        Any thread may call it, whatever the others hang in: the one that watches does, at the end of an overdue job.
        """
        until = time.monotonic() + timeout
        waking, renewing = self._waking, self._renewing
        self._waking = None  # nothing is popped any more
        self._is_closing = True
        self._polling.end()
        for thread in (waking, renewing):
            if thread is not None:
                thread.end()
        is_busy = bool(self._in_hand or self._ended or self._polling.left()) or self._asking.locked()
        if is_busy or self._is_away:
            # In a thread of its own, since a store may take longer than there is time.
            seconds = timeout if is_busy else min(timeout, UNHEARD)
            within(seconds, lambda: self._tell_last(time.monotonic() + seconds, waking))
        is_told = not (self._in_hand or self._ended)
        self._store.close()
        if self._claims is not None:
            self._claims.give_back()
        for thread in (waking, renewing):
            if thread is not None:
                thread.await_end(timeout=max(0.0, min(AWAY, until - time.monotonic())))
        self._renewing = None
        return is_told

    # for deliveries ────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, delivery: LeasedDelivery, how: How, delay: float = 0.0) -> None:
        """The lease of a delivery ends; the store hears of it with the next start.

        What has ended ends no second time, whoever was first, nor does in a child what its parent has in hand.
        """
        if self._in_hand.pop(delivery, ENDED) is ENDED:
            return
        if how is How.EXCUSED:
            self._held.excuse(delivery)
        elif how is not How.GIVEN_BACK:
            self._held.forget(delivery)
        if delivery.lease.is_lost:
            log.warning(
                "a job's lease had run out before its end; it may run again", extra={"position": delivery.position}
            )
        self._ended.append(Ended(delivery.lease, how, delay))

    def hold(self, delivery: LeasedDelivery, delay: float) -> None:
        """A failed job that can't be recorded yet waits here: only here its error is known."""
        self._held.put(delivery, time.monotonic() + delay)

    def put_back(self, delivery: LeasedDelivery) -> None:
        """It is popped again, before any other."""
        self._ready.appendleft(delivery)

    def has_in_hand(self, delivery: LeasedDelivery) -> bool:
        """Whether it has not ended yet."""
        return delivery in self._in_hand

    # the thread that pops ──────────────────────────────────────────────────────────────────────────────────────────

    def _next(self, names: Sequence[str]) -> LeasedDelivery | None:
        if self._paused and self._ready:
            self._leave(lambda delivery: delivery.queue in self._paused)
        if self._held and not self._ready:  # those that are ready were taken for the slots that are free
            held = self._next_held()
            if held is not None:
                return held
        if not self._ready and ((self._ended and not self._is_away) or time.monotonic() >= self._look_at):
            self._look(names)
        while self._ready:
            try:
                delivery = self._ready.popleft()
            except IndexError:  # the thread that looks after them has just given it back
                return None
            if not self._is_ours(delivery):
                continue
            if lasts := self._lasts(delivery):
                return delivery
            if lasts is None:
                self._ready.appendleft(delivery)
                self._look_at = time.monotonic() + AWAY
                return None
        return None

    def _next_held(self) -> LeasedDelivery | None:
        now = time.monotonic()
        held = self._held.take_due(now)
        if held is None or not self._is_ours(held):
            return None
        is_paused = held.queue in self._paused and held.failure is None
        lasts = None if is_paused else self._lasts(held)
        if lasts is None:
            self._held.put(held, now + AWAY)
        return held if lasts else None

    def _is_ours(self, delivery: LeasedDelivery) -> bool:
        """Whether its lease is not known to have run out; such a one is left to others."""
        if delivery.lease.is_lost:
            self._in_hand.pop(delivery, None)
        return not delivery.lease.is_lost

    def _lasts(self, delivery: LeasedDelivery) -> bool | None:
        """Whether the lease of a job that is to begin holds; None where that is not known."""
        renewing = self._renewing
        lasts = True if renewing is None else renewing.lasts(delivery)
        return self._is_ours(delivery) if lasts is False else lasts

    def _look(self, names: Sequence[str]) -> None:
        """Tell the store what has ended, and take what there is for the slots that are free."""
        most = 0 if self._held.is_full else max(1, self._slots - len(self._in_hand) + len(self._held))
        self._looked_with = self._paused
        if self._turns is not None:
            names = self._turns.order(self._looked_with)
        elif self._looked_with:
            names = self._going(names)
        seen = self._news
        with self._asking:
            if self._is_closing:
                return
            taken = self._take(names if most else (), most)
            if taken is None:
                return
            self._is_empty = not taken.leases and most > 0
            if self._turns is not None and most:
                self._turns.took(taken.leases)
            if taken.leases or self._news != seen:
                self._look_at = 0.0
            else:
                next_due = self._store.look_every if taken.next_due is None else taken.next_due
                self._look_at = time.monotonic() + min(self._store.look_every, next_due)
        if taken.leases and self._waking is not None:
            self._waking.pause()

    def _going(self, names: Sequence[str]) -> Sequence[str]:
        """Those of the queues that are not paused."""
        return [name for name in names if name not in self._paused]

    def _take(self, names: Sequence[str], most: int) -> Taken | None:
        """Ask the store, by one thread at a time; None where it is away.

        It may give out jobs whoever asks, those of a call whose answer was lost.
        """
        count = len(self._ended)
        asked_at = time.monotonic()
        try:
            taken = self._store.take(names, most, self._ended[:count])
        except Unavailable as error:
            self._look_at = time.monotonic() + AWAY
            self._is_away = True
            self._is_empty = False
            reason = one_line(error)
            if self._outages.is_new(reason):
                log.warning("the store of the queue is away; no job is taken", extra={"reason": reason})
            return None
        self._is_away = False
        del self._ended[:count]
        self._adopt(taken.leases, asked_at)
        for end in taken.kept:
            self.hold(self._put_in_hand(end.lease, asked_at), end.delay)
        return taken

    def _adopt(self, leases: Sequence[Lease], asked_at: float) -> None:
        """What has begun is in hand; the thread that polls calls this, too."""
        if leases:
            self._taken_at = time.monotonic()
            for lease in leases:
                self._ready.append(self._put_in_hand(lease, asked_at))

    def _put_in_hand(self, lease: Lease, asked_at: float) -> LeasedDelivery:
        delivery = LeasedDelivery(lease, self, asked_at)
        self._held.recall(delivery)
        self._in_hand[delivery] = None
        return delivery

    # other threads ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_after(self) -> None:
        """Give back what nobody comes for, tell of ends that no start follows, ask for what a lost answer told."""
        is_early = self._is_away and time.monotonic() < self._look_at
        has_to = self._ended or self._ready or self._is_away
        if not has_to or is_early or not self._asking.acquire(blocking=False):
            return
        try:
            if self._ready and time.monotonic() - self._taken_at > LEFT:
                self._leave(lambda delivery: not delivery.singly)  # one of a broken call must not join the next one
            if (self._ended or self._is_away) and (taken := self._take((), 0)) is not None:
                # What was released may be due, and the last look was before it.
                self._is_empty = False
                self._look_at = 0.0
                if taken.leases or taken.kept:
                    self._bell.put(ARRIVED)
        finally:
            self._asking.release()

    def _leave(self, may_leave: Callable[[LeasedDelivery], bool]) -> None:
        """Give back what waits here, the last one first, so that they stand in their order."""
        for delivery in filter(may_leave, reversed(tuple(self._ready))):
            with suppress(ValueError):  # another thread has just taken it
                self._ready.remove(delivery)
                self._give_back(delivery)

    def _on_news(self) -> None:
        self._news += 1
        self._look_at = 0.0
        self._bell.put(ARRIVED)

    def _tell_last(self, until: float, waking: Waking | None) -> None:
        self._tell_ends(until)
        if waking is not None and (left := min(until - time.monotonic(), self._polling.left())) > 0:
            log.info("waiting for the answer to the last request for jobs", extra={"seconds": round(left, 1)})
            waking.await_end(timeout=left)
            if self._polling.left():
                log.warning("an answer of the store was not waited for; a job of it runs when its lease is over")
        if self._in_hand:
            self._tell_ends(until)

    def _tell_ends(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0 and self._asking.acquire(timeout=left):
            try:
                self._ready.clear()
                for delivery in reversed(list(self._in_hand)):
                    self._give_back(delivery)
                taken = self._take((), 0)
                if taken is not None and not taken.leases and not taken.kept:
                    return
            finally:
                self._asking.release()
            time.sleep(max(0.0, min(LAST, until - time.monotonic())))

    def _give_back(self, delivery: LeasedDelivery) -> None:
        """The start of a job counts that its worker has died of, or that has failed and is not recorded."""
        has_run = delivery.has_died or delivery.failure is not None
        self.end(delivery, How.RELEASED if has_run else How.GIVEN_BACK)
