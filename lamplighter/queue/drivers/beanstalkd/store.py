"""Jobs in beanstalkd, as a `JobStore`."""

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import greenstalk

from lamplighter.contracts import Message, Sizes
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable, UnsupportedDelay
from lamplighter.queue.drivers.beanstalkd.connection import LONGEST_WAIT, MOST, Address, Command, Connection, named
from lamplighter.queue.drivers.beanstalkd.idle import IdleConnections
from lamplighter.queue.drivers.beanstalkd.reserved import Numbers, Reserved, lease_of
from lamplighter.queue.drivers.leasing.lost import LostAnswers
from lamplighter.queue.drivers.leasing.store import UNCOUNTED, Ended, How, Lease, Taken
from lamplighter.queue.failed.attempts import with_attempts
from lamplighter.queue.worker.outages import Outages
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

REST = 0.6  # seconds between two looks of an idle worker
SELDOM = 30.0
LACKS = {
    "held": "beanstalkd shows of a queue only the delayed job that is due first.",
    "cancel": "beanstalkd finds a job by a number of its own alone, and not by the id that dispatch has returned.",
    "clear_reserved": "What workers have in hand stays: beanstalkd lets nobody else delete it. So do buried jobs.",
}


class BeanstalkdStore:
    """Reserves, settles and renews on one connection, whose end gives all its jobs back; the others push and ask.

    A job's start is its reservation, which the server counts (`reserves` of `stats-job`), as in Laravel. That count
    can't be taken back: a job that is given back without it is put anew, and what was there is deleted after that.
    Where the server takes no job, such a one stays in the worker.
    """

    keeps_headers = False
    lacks: Mapping[str, str] = MappingProxyType(LACKS)

    def __init__(self, address: Address, *, ttr: int, block_for: int = 0, priority: int = 1024) -> None:
        self.seconds: float = ttr
        self.look_every = REST if block_for else SELDOM
        self._address = address
        self._ttr = ttr
        self._block_for = min(block_for, LONGEST_WAIT)
        self._priority = priority
        self._others = IdleConnections(address)
        self._begin_anew()
        watch(self, in_child=BeanstalkdStore._begin_as_child, locks=lambda store: (store._asking, store._others.lock))

    def _begin_anew(self) -> None:
        self._asking = threading.Lock()
        self._reserving: Connection | None = None
        self._leases: dict[int, Lease] = {}
        self._lost = LostAnswers()
        self._numbers = Numbers()
        self._outages = Outages()
        self._empty: Sequence[str] = ()  # the tubes of the last look, which had nothing

    def _begin_as_child(self) -> None:
        if self._reserving is not None:
            self._reserving.leave_to_parent()
        self._others.leave_to_parent()
        self._begin_anew()

    # pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them into the tube, all in one write."""
        (tube,) = named([queue])
        seconds = _whole(delay)
        with self._others.lend() as connection:
            for message in messages:
                _look_at_size(message.payload, queue, connection)
            puts = [
                connection.put(message.payload, priority=self._priority, delay=seconds, ttr=self._ttr)
                for message in messages
            ]
            for answer in connection.ask([connection.use(tube), *puts]):
                if isinstance(answer, greenstalk.Error):
                    raise self._refused(answer, connection)

    def _refused(self, refusal: greenstalk.Error, connection: Connection) -> QueueError:
        """A server that is full, or about to be stopped, takes jobs later."""
        if isinstance(refusal, greenstalk.BuriedError) and refusal.id is not None:
            connection.ask([connection.delete(refusal.id)])
        if isinstance(refusal, greenstalk.BuriedError | greenstalk.OutOfMemoryError | greenstalk.DrainingError):
            return Unavailable(f"beanstalkd at {self._address} takes no jobs now: {_name(refusal)}.")
        return QueueError(f"beanstalkd at {self._address} refuses a job: {_name(refusal)}.")

    # working ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Settle and reserve in one write; how often those jobs were started is asked in it, or in another."""
        tubes = named(queues)
        with self._asking:
            connection = self._connect()
            kept: list[Ended] = []
            settling = self._settle(connection, ended, kept)
            # Only where nothing is in hand that would have to be renewed or settled meanwhile.
            waits = bool(tubes and most and self._block_for and not self._leases)
            was_empty = tubes == self._empty and not settling
            likely = self._likely(connection, tubes, waits=waits) if was_empty else tubes
            leases = self._reserve(connection, settling, likely, most)
            if not leases and waits:
                leases = self._begin(connection, [], tubes, 1, seconds=self._block_for)
            self._empty = () if leases or not most else tubes
            return Taken(leases, next_due=0.0 if waits else None, kept=kept)

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Touch them; those of a connection that is gone are lost."""
        with self._asking:
            connection = self._reserving
            alive = connection is not None and connection.is_alive()
            ours = [lease for lease in leases if alive and lease.handle.connection is connection]
            lost = [lease for lease in leases if lease not in ours or self._leases.get(_number(lease)) is not lease]
            ours = [lease for lease in ours if lease not in lost]
            if connection is None or not ours:
                return lost
            asked = time.monotonic()
            try:
                answers = connection.ask([connection.touch(_number(lease)) for lease in ours])
            except Unavailable as error:
                log.warning("the connection that held the jobs is gone", extra={"reason": str(error)})
                return leases
            for lease, answer in zip(ours, answers, strict=True):
                if isinstance(answer, greenstalk.Error):
                    lost.append(lease)
                else:
                    lease.handle.until = asked + lease.handle.ttr
            return lost

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Look once, after a rest; where the server is to wait (`block_for`), `take` does that."""
        if self._block_for:
            time.sleep(seconds)
            return False
        time.sleep(min(seconds, REST))
        with self._others.lend() as connection:
            return bool(_ready(connection, named(queues)))

    # counting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def sizes(self, queue: str) -> Sizes:
        """As `stats-tube` has it; what is buried is not counted, and told."""
        (tube,) = named([queue])
        with self._others.lend() as connection:
            stats, _, first = connection.ask([connection.tube(tube), connection.use(tube), connection.peek_ready()])
            if isinstance(stats, greenstalk.Error):
                return Sizes(0, 0)
            oldest = None
            if isinstance(first, greenstalk.Job):
                (job,) = connection.ask([connection.job(first.id)])
                oldest = None if isinstance(job, greenstalk.Error) else time.time() - job.number("age")
        buried = stats.number("current-jobs-buried")
        notes = (f"{buried:,} jobs are buried, which no worker runs; `kick` puts them back.",) if buried else ()
        return Sizes(
            stats.number("current-jobs-ready"),
            stats.number("current-jobs-delayed"),
            reserved=stats.number("current-jobs-reserved"),
            oldest=oldest,
            notes=notes,
        )

    def clear(self, queue: str) -> int:
        """Delete what is ready or delayed; what is reserved is its worker's, and what is buried stays."""
        (tube,) = named([queue])
        count = 0
        with self._others.lend() as connection:
            for peek in (connection.peek_ready(), connection.peek_delayed()):
                _, found = connection.ask([connection.use(tube), peek])
                while isinstance(found, greenstalk.Job):
                    deleted, found = connection.ask([connection.delete(found.id), peek])
                    count += not isinstance(deleted, greenstalk.Error)
        return count

    def close(self) -> None:
        """What is still reserved goes back to its tube."""
        with self._asking:
            if self._reserving is not None:
                self._reserving.close()
            self._leases.clear()
        self._others.close()

    # while the lock is held ────────────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> Connection:
        if self._reserving is None or not self._reserving.is_alive():
            self._reserving = Connection(self._address)
        return self._reserving

    def _settle(self, connection: Connection, ended: Sequence[Ended], kept: list[Ended]) -> list[Command]:
        """What is left to be asked for these ends; those that are kept are added to `kept`."""
        commands = []
        # Backwards: of those that are given back, each is the next one, before those that were given back before it.
        for end in reversed(ended):
            reserved: Reserved = end.lease.handle
            if self._is_told(connection, end):
                is_done = end.how is How.DELETED or reserved.is_copied
                if not is_done and end.how in UNCOUNTED:
                    is_done = self._copy(connection, end)
                    if not is_done and end.how is How.EXCUSED:
                        kept.append(end)
                        continue
                if is_done:
                    commands.append(connection.delete(reserved.number))
                elif not reserved.is_left:
                    delay = min(_ceil(end.delay), MOST)
                    commands.append(connection.release(reserved.number, priority=reserved.priority, delay=delay))
            self._forget(end.lease)
        return commands

    def _is_told(self, connection: Connection, end: Ended) -> bool:
        """Whether the server is to hear of an end."""
        reserved: Reserved = end.lease.handle
        if self._leases.get(reserved.number, end.lease) is not end.lease:
            return False  # it ran out, and the job was reserved here once more
        if reserved.connection is not connection:
            # The server has put it back. It knows the number still unless it was started anew, and refuses if others
            # have reserved the job.
            is_done = end.how is How.DELETED or reserved.is_copied
            return is_done and reserved.connection.server == connection.server
        return reserved.is_held()

    def _copy(self, connection: Connection, end: Ended) -> bool:
        """Put the job once more, with the starts it has had before this one in its payload; whether that was done.

        Where a server takes no jobs, as one that drains, one that is given back is left to the end of its reservation:
        then the server counts no release, and nobody takes that start for one that has failed.
        """
        lease, reserved = end.lease, end.lease.handle
        payload = with_attempts(lease.payload, lease.retries) if lease.retries else lease.payload
        if payload is None or len(payload) > connection.max_size:
            return False
        is_next = end.how is How.GIVEN_BACK
        put = connection.put(
            payload,
            priority=max(0, reserved.priority - is_next),
            delay=0 if is_next else min(_ceil(end.delay), MOST),
            ttr=reserved.ttr,
        )
        use, answer = connection.ask([connection.use(lease.queue), put])
        if isinstance(use, greenstalk.Error) or isinstance(answer, greenstalk.Error):
            reason = _name(answer)
            if self._outages.is_new(reason):
                log.warning("a job can't be put anew, so that it waits in this worker", extra={"reason": reason})
            reserved.is_left = end.how is How.GIVEN_BACK
            return False
        reserved.is_copied = True
        return True

    def _likely(self, connection: Connection, tubes: Sequence[str], *, waits: bool) -> Sequence[str]:
        """Which of some tubes that were empty are to be asked for a job: one call tells, however many they are."""
        if len(tubes) > 1:
            return _ready(connection, tubes)
        return () if waits else tubes  # the server's wait begins with a look

    def _reserve(self, connection: Connection, settling: list[Command], tubes: Sequence[str], most: int) -> list[Lease]:
        """Ask one tube after the other: within a watch list the server knows no order of tubes."""
        if not tubes or not most:
            if settling:
                _look_at_ends(settling, connection.ask(settling))
            return []
        leases: list[Lease] = []
        for tube in tubes:
            leases = self._begin(connection, settling, [tube], most)
            if leases:
                break
            settling = []
        return leases

    def _begin(
        self, connection: Connection, settling: list[Command], tubes: Sequence[str], most: int, *, seconds: int = 0
    ) -> list[Lease]:
        asked = time.monotonic()
        # Jobs have rising numbers: those that are expected are asked about in the same write, which saves the second.
        expected = [] if seconds else self._numbers.expected(most)
        watches = connection.watch(tubes)
        commands = [*settling, *watches, *[connection.reserve(seconds)] * most]
        count, first = len(commands), len(settling)
        try:
            answers = connection.ask([*commands, *map(connection.job, expected)])
            reserved, known = answers[count - most : count], dict(zip(expected, answers[count:], strict=True))
            jobs = [answer for answer in reserved if isinstance(answer, greenstalk.Job)]
            others = [job.id for job in jobs if job.id not in known]
            if others:
                asked = time.monotonic()
                known.update(zip(others, connection.ask([*map(connection.job, others)]), strict=True))
        except Unavailable:
            self._lost.expect(most, 2 * self._ttr)
            raise
        _look_at_ends(settling, answers[:first])
        if any(isinstance(answer, greenstalk.Error) for answer in answers[first : first + len(watches)]):
            connection.close()  # gives back what it has reserved of other tubes
            raise Unavailable(f"beanstalkd at {self._address} does not watch {', '.join(tubes)}.")
        if not jobs:
            self._look_at_refusals(reserved)
        if any(isinstance(known[job.id], greenstalk.Error) for job in jobs):
            connection.close()  # gives them back: nobody would settle them
            raise Unavailable(f"beanstalkd at {self._address} does not know a job that it has given out.")
        self._numbers.note([job.id for job in jobs])
        leases = [lease_of(job.id, job.body, known[job.id], connection, asked, self._lost) for job in jobs]
        for lease in leases:
            self._leases[_number(lease)] = lease
            self.seconds = min(self.seconds, lease.handle.ttr)
        return leases

    def _look_at_refusals(self, answers: Sequence[Any]) -> None:
        for answer in answers:
            if isinstance(answer, greenstalk.Error) and not isinstance(
                answer, greenstalk.TimedOutError | greenstalk.DeadlineSoonError
            ):
                raise QueueError(f"beanstalkd at {self._address} gives out no job: {_name(answer)}.")

    def _forget(self, lease: Lease) -> None:
        if self._leases.get(_number(lease)) is lease:
            del self._leases[_number(lease)]
        if not self._leases:
            self.seconds = self._ttr


def _look_at_ends(commands: Sequence[Command], answers: Sequence[Any]) -> None:
    for command, answer in zip(commands, answers, strict=False):
        if isinstance(answer, greenstalk.BuriedError):
            log.error("beanstalkd has buried a job for want of memory; `kick` frees it", extra=_fields(command, answer))
        elif isinstance(answer, greenstalk.Error):
            # As after an answer that was lost: the job has ended already.
            log.warning("beanstalkd has refused the end of a job", extra=_fields(command, answer))


def _fields(command: Command, answer: object) -> dict[str, str]:
    return {"command": command.text.decode().strip(), "reason": _name(answer)}


def _ready(connection: Connection, tubes: Sequence[str]) -> list[str]:
    """Those that have a job now, in one round trip."""
    answers = connection.ask([connection.tube(tube) for tube in tubes])
    return [tube for tube, answer in zip(tubes, answers, strict=True) if _gives(answer)]


def _gives(stats: Any) -> bool:
    """Whether a tube gives out a job: it has one, and `pause-tube` does not hold it back."""
    is_there = not isinstance(stats, greenstalk.Error)
    return is_there and stats.number("current-jobs-ready") > 0 and stats.get("pause-time-left", "0") == "0"


def _number(lease: Lease) -> int:
    reserved: Reserved = lease.handle
    return reserved.number


def _name(error: object) -> str:
    """An answer of the server, as the client names it."""
    return f"{type(error).__name__} {error}".removesuffix(" []").strip()


def _ceil(delay: float) -> int:
    return max(0, math.ceil(delay))


def _whole(delay: float) -> int:
    if delay > MOST:
        raise UnsupportedDelay(f"beanstalkd holds a job back for at most {MOST:,} seconds, and not for {delay:,.0f}.")
    return _ceil(delay)


def _look_at_size(payload: bytes, queue: str, connection: Connection) -> None:
    size, limit = len(payload), connection.max_size
    if size > limit:
        raise MessageTooLarge(
            f"The job has {size:,} bytes, and beanstalkd at {connection.address} takes at most {limit:,} (its option "
            f"-z), for the queue {queue!r} as for all.",
            size=size,
            limit=limit,
        )
