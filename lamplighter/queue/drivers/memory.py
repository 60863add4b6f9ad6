"""Jobs in the memory of this process, for tests: a worker meets them as it meets those of any other store."""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from lamplighter.contracts import Application, HeldJob, Message, Sizes
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.leasing.claims import ClaimOptions, make_claims
from lamplighter.queue.drivers.leasing.delayed import is_called
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import RETRY_AFTER, Ended, How, Lease, Taken
from lamplighter.queue.jobs.naming import id_and_name
from lamplighter.support.forking import watch
from lamplighter.support.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions(ClaimOptions):
    """The keys of a connection with `driver: memory`; `retry_after` is seconds."""

    driver: Literal["memory"]
    queue: str = "default"
    retry_after: float = RETRY_AFTER


def connect(app: Application, name: str, options: Mapping[str, Any]) -> LeasingQueue:
    """The connection of config/queue.py."""
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(MemoryOptions, options, where=where)
    if settings.retry_after <= 0:
        raise ConfigError(f"{where} has a retry_after of {settings.retry_after:g} s; a lease has to last.")
    store, claims = MemoryStore(seconds=settings.retry_after), make_claims(settings, where=where)
    return LeasingQueue(name, store, default_queue=settings.queue, claims=claims)


@dataclass(slots=True, eq=False)
class Kept:
    """A job, and how often it was started; `reservation` tells its leases apart."""

    number: int
    queue: str
    message: Message
    pushed: float
    starts: int = 0
    reservation: int = 0
    has_crashed: bool = False

    @property
    def id(self) -> str:
        """What `queue:delayed` calls it."""
        return f"{self.queue}#{self.number}"


@dataclass(slots=True)
class Line:
    """One queue. Times are on the monotonic clock."""

    ready: deque[Kept] = field(default_factory=deque)
    delayed: list[tuple[float, int, Kept]] = field(default_factory=list)
    reserved: dict[Kept, float] = field(default_factory=dict)


class MemoryStore:
    """A store for one process."""

    look_every = 0.5
    keeps_headers = True
    lacks: Mapping[str, str] = MappingProxyType({})

    def __init__(self, *, seconds: float = RETRY_AFTER, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._number = 0
        self._changed = threading.Condition()
        watch(self, in_child=MemoryStore._begin_as_child, locks=lambda store: (store._changed,))

    def _begin_as_child(self) -> None:
        self._changed = threading.Condition()

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them at the end of the queue."""
        with self._changed:
            now = self._clock()
            for message in messages:
                self._number += 1
                self._place(Kept(self._number, queue, message, time.time()), now, delay)
            self._changed.notify_all()

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Settle, then begin."""
        with self._changed:
            now = self._clock()
            for end in ended:
                self._settle(end, now)
            leases: list[Lease] = []
            for name in queues:
                line = self._lines.get(name)
                if line is not None:
                    self._refresh(line, now)
                    while line.ready and len(leases) < most:
                        leases.append(self._begin(line.ready.popleft(), line, now))
                if leases:
                    break
            lines = [line for name in queues if (line := self._lines.get(name))]
            due = min((line.delayed[0][0] for line in lines if line.delayed), default=None)
            return Taken(leases, None if due is None else max(0.0, due - now))

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Let leases begin anew."""
        lost = []
        with self._changed:
            until = self._clock() + self.seconds
            for lease in leases:
                kept, line = self._find(lease)
                if kept is None:
                    lost.append(lease)
                else:
                    line.reserved[kept] = until
        return lost

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Until something was pushed, here."""
        with self._changed:
            if any(line.ready for name in queues if (line := self._lines.get(name))):
                return True
            return self._changed.wait(seconds)

    def sizes(self, queue: str) -> Sizes:
        """What is there."""
        with self._changed:
            line = self._lines.get(queue) or Line()
            self._refresh(line, self._clock())
            oldest = min((kept.pushed for kept in line.ready), default=None)
            return Sizes(len(line.ready), len(line.delayed), reserved=len(line.reserved), oldest=oldest)

    def clear(self, queue: str) -> int:
        """Forget all of them."""
        with self._changed:
            line = self._lines.pop(queue, None) or Line()
            return len(line.ready) + len(line.delayed) + len(line.reserved)

    def held(self, most: int) -> Sequence[HeldJob]:
        """What is due later, by the clock of the host."""
        with self._changed:
            now, moment = self._clock(), time.time()
            waiting = heapq.nsmallest(most, (one for line in self._lines.values() for one in line.delayed))
        return [_held(kept, moment + due - now) for due, _, kept in waiting if due > now]

    def cancel(self, id: str) -> int:
        """Forget what is due later and is called so."""
        with self._changed:
            now, count = self._clock(), 0
            for line in self._lines.values():
                left = [one for one in line.delayed if one[0] <= now or not _is_called(one[2], id)]
                count += len(line.delayed) - len(left)
                heapq.heapify(left)
                line.delayed = left
            return count

    def close(self) -> None:
        """The jobs stay, for the next worker of this process."""
        with self._changed:
            self._changed.notify_all()

    # within the lock ───────────────────────────────────────────────────────────────────────────────────────────────

    def _place(self, kept: Kept, now: float, delay: float) -> None:
        line = self._lines.setdefault(kept.queue, Line())
        if delay > 0:
            heapq.heappush(line.delayed, (now + delay, kept.number, kept))
        else:
            line.ready.append(kept)

    def _refresh(self, line: Line, now: float) -> None:
        while line.delayed and line.delayed[0][0] <= now:
            line.ready.append(heapq.heappop(line.delayed)[2])
        for kept in [kept for kept, until in line.reserved.items() if until <= now]:
            del line.reserved[kept]
            kept.has_crashed = True
            line.ready.append(kept)

    def _begin(self, kept: Kept, line: Line, now: float) -> Lease:
        kept.reservation += 1
        kept.starts += 1
        line.reserved[kept] = now + self.seconds
        message = kept.message
        return Lease(
            queue=kept.queue,
            payload=message.payload,
            handle=(kept, kept.reservation),
            retries=kept.starts - 1,
            mark=str(kept.number),
            timestamp_ms=int(kept.pushed * 1000),
            key=message.key,
            headers=message.headers,
            has_crashed=kept.has_crashed,
        )

    def _find(self, lease: Lease) -> tuple[Kept | None, Line]:
        """The job of a lease that has not run out."""
        kept, reservation = lease.handle
        line = self._lines.get(lease.queue) or Line()
        is_ours = kept in line.reserved and kept.reservation == reservation
        return (kept if is_ours else None), line

    def _settle(self, end: Ended, now: float) -> None:
        kept, line = self._find(end.lease)
        if kept is None:
            return
        del line.reserved[kept]
        if end.how is How.DELETED:
            return
        if end.how is not How.RELEASED:
            kept.starts -= 1
        if end.how is How.GIVEN_BACK:
            line.ready.appendleft(kept)
        else:
            self._place(kept, now, end.delay)
        self._changed.notify_all()


def _held(kept: Kept, due: float) -> HeldJob:
    job_id, name = id_and_name(kept.message.payload)
    return HeldJob(kept.id, job_id, name, kept.queue, due, can_cancel=True)


def _is_called(kept: Kept, id: str) -> bool:
    return kept.id == id or is_called(kept.message.payload, id)
