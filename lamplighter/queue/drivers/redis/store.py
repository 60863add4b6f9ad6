"""Queues in Redis: Laravel's keys and payloads, and a worker's turn in one call."""

import logging
import random
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from lamplighter.contracts import Application, Config, HeldJob, Message, Sizes
from lamplighter.errors import ConfigError, QueueError, Unavailable
from lamplighter.queue.drivers.leasing.claims import ClaimOptions, make_claims
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import RETRY_AFTER, UNCOUNTED, Ended, How, Lease, Taken
from lamplighter.queue.drivers.redis import scripts
from lamplighter.queue.drivers.redis.calls import Calls
from lamplighter.queue.drivers.redis.connect import Server, find_server
from lamplighter.queue.drivers.redis.delayed import DelayedSets
from lamplighter.queue.failed.trace import one_line
from lamplighter.support.forking import watch
from lamplighter.support.options import parse_options

T = TypeVar("T", Ended, Lease)

log = logging.getLogger(__name__)

MOVED = 10_000  # jobs that are due and move to their list in one call, where the setting says all
MOVE_EVERY = 0.005  # seconds between two looks for jobs that are due, beside those where a queue has no other job
PUSH_TRIES = 4  # where a message came too late; the first try of a process only asks for the server's clock
LAST = 1.0  # seconds for the last call
HOWS = {How.RELEASED: "r", How.EXCUSED: "e", How.GIVEN_BACK: "g"}
HASH_TAG = re.compile(r"\{[^}]+\}")
NUMBERS = range(1, 1_000_000)  # of the queues of one call
NONE = ""  # no note was taken
LOST = "lost"
TOGETHER = 1000  # jobs of one queue that are done: a script can't give more than 8,000 words to a command
FAR = 1e15  # seconds, 30 million years: a number of Python's may be too large for a float
WHOLE = -1  # a script gives the whole text, and not how it is made
DIED = b"!"  # a worker has died with a job


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions(ClaimOptions):
    """The keys of a connection with `driver: redis`.

    `connection` is one of config/database.py (redis). `retry_after` is the seconds after which a job of a worker that
    has died runs again. `block_for` is how long one wait for news lasts at most, in seconds; a worker waits for news
    also where it is None or 0. `migration_batch_size` is how many jobs that are due move to the list in one call; -1
    is all, 10,000 in one call.
    """

    driver: Literal["redis"]
    connection: str = "default"
    queue: str = "default"
    retry_after: float = RETRY_AFTER
    block_for: float | None = None
    migration_batch_size: int = -1


def connect(app: Application, name: str, options: Mapping[str, Any]) -> LeasingQueue:
    """The connection of config/queue.py."""
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(RedisOptions, options, where=where)
    if settings.retry_after <= 0:
        raise ConfigError(f"{where} has a retry_after of {settings.retry_after:g} s; a lease has to last.")
    if (settings.block_for or 0) < 0:
        raise ConfigError(f"{where} has {settings.block_for:g} for the key 'block_for', which takes seconds from 0.")
    if settings.migration_batch_size < 1 and settings.migration_batch_size != -1:
        raise ConfigError(
            f"{where} has {settings.migration_batch_size} for the key 'migration_batch_size', which takes a number of "
            f"jobs from 1, or -1 for all."
        )
    server = find_server(app.make(Config).mapping("database.redis", {}), settings.connection)
    claims = make_claims(settings, where=where)
    return LeasingQueue(name, RedisStore(server, settings), default_queue=settings.queue, claims=claims)


class Held(NamedTuple):
    """What Redis knows a lease by: the call that began it, and its member of `:reserved`."""

    token: int
    member: bytes


class Keys(NamedTuple):
    """Those of a queue, as Laravel has them."""

    list: bytes
    delayed: bytes
    reserved: bytes
    notify: bytes


class Plan(NamedTuple):
    """The queues of one call by their numbers, and all their keys."""

    numbers: Mapping[str, int]
    keys: Sequence[bytes]


class Envelope(msgspec.Struct):
    """What is read of a payload whose job is not begun."""

    created_at: float = msgspec.field(name="createdAt")


class RedisStore:
    """Laravel's queues of one connection.

    A job has no name of its own in Redis but its bytes, and nothing travels beside its payload.
    """

    look_every = 1.5  # with one wait a second: less than two calls a second of an idle worker
    keeps_headers = False
    lacks: Mapping[str, str] = MappingProxyType({})

    def __init__(self, server: Server, options: RedisOptions) -> None:
        self.seconds = options.retry_after
        self._is_cluster = bool(server.nodes)
        self._prefix = server.prefix
        self._calls = Calls(server)
        self._moved = options.migration_batch_size if options.migration_batch_size > 0 else MOVED
        # A wait is over before its connection would be given up.
        self._longest_wait = min(max(0.0, options.block_for or 0.0) or server.patience, server.patience / 2)
        # The answer has as long to come back before its connection is given up.
        self._push_within = server.patience / 2
        self._offset = 0.0  # of the server's clock from `time.monotonic`, at most; the first push finds it out
        self._keys = lru_cache(1000)(self._make_keys)
        self._plan = lru_cache(1000)(self._make_plan)
        self._begin_anew()
        watch(self, in_child=RedisStore._begin_anew)

    def _begin_anew(self) -> None:
        self._lost: tuple[int, Sequence[str]] | None = None  # the token and the queues of a call without an answer
        self._notes: deque[str] = deque()  # queues of which `wait` has taken a note
        self._move_at: dict[str, float] = {}  # by the first queue of a call
        self._calls.looks = True

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Put them at the end of the list, or beside it until they are due.

        A server that was frozen, and reads this when the caller was told Unavailable, does nothing.
        """
        keys = self._keys(queue)
        wait = float(min(delay, FAR)) if delay > 0 else 0
        # Idle workers would see a short delay too late by themselves.
        is_soon = int(0 < wait <= self.look_every)
        payloads = [message.payload for message in messages]
        names = [keys.delayed if wait else keys.list, keys.notify]
        offset = self._offset
        for _ in range(PUSH_TRIES):
            until = time.monotonic() + self._push_within + offset
            # A tenth more: clocks drift.
            times = [f"{until:.6f}", f"{self._push_within * 1.1:.6f}"]
            server_time = self._calls.run(scripts.push, names, [wait, is_soon, *times, *payloads])
            if server_time is None:
                return
            offset = self._offset = float(server_time) - time.monotonic()
        raise Unavailable(f"The queue's Redis at {self._calls.server.address} takes messages too slowly.")

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Settle, move what is due, and begin, in one call; in a Cluster in one for each queue."""
        if self._lost is not None:
            found = self._find_lost(*self._lost, ended)
            if found and queues and most > 0:
                self._lost = None
                return Taken(found)
            self._give_back(found)
            self._lost, ended = None, ()
        if not queues or most <= 0:
            self._tell(ended)
            return Taken(())
        if most > 1:
            self._calls.looks = False  # its jobs run beside each other, in threads that use the time better
        token = random.getrandbits(20) * 2 or 2
        turn = self._turn_in_cluster if self._is_cluster else self._turn
        try:
            return turn(queues, most, ended, token)
        except BaseException:  # whatever came in between: Redis may have begun jobs
            self._lost = token, tuple(queues)
            raise

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Let their members have new scores."""
        lost: list[Lease] = []
        for part in self._together(leases):
            numbers: dict[str, int] = {}
            values: list[Any] = [self.seconds]
            for lease in part:
                number = numbers.setdefault(lease.queue, len(numbers) + 1)
                values += (f"{number} {lease.handle.token}", lease.handle.member)
            keys = [self._keys(queue).reserved for queue in numbers]
            lost += [part[place] for place in self._calls.run(scripts.renew, keys, values)]
        return lost

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Until somebody has left a note that a job has come; in a Cluster of the first queue."""
        notes = {self._keys(queue).notify: queue for queue in (queues[:1] if self._is_cluster else queues)}
        if not notes:
            return False
        queue = self._calls.wait(notes, min(seconds, self._longest_wait))
        if queue is None:
            return False
        # The next `take` reckons with it: there is to be one note for each job.
        self._notes.append(queue)
        return True

    def sizes(self, queue: str) -> Sizes:
        """What is there; what is due counts as pending, although it may not have moved to the list yet."""
        pending, delayed, reserved, first = self._calls.run(scripts.sizes, self._keys(queue), ())
        return Sizes(pending, delayed, reserved=reserved, oldest=_created_at(first))

    def clear(self, queue: str) -> int:
        """Delete its four keys."""
        return int(self._calls.run(scripts.clear, self._keys(queue), ()))

    def held(self, most: int) -> Sequence[HeldJob]:
        """The members of all sets `:delayed` that are not due."""
        return DelayedSets(self._calls, self._prefix).held(most)

    def cancel(self, id: str) -> int:
        """Remove members of the sets `:delayed`."""
        return DelayedSets(self._calls, self._prefix).cancel(id)

    def close(self) -> None:
        """Give back what a lost answer has begun, if Redis answers now, and let go of the connections."""
        try:
            if self._lost is not None:
                self._calls.close()
                self._calls = self._calls.quick(LAST)  # whoever closes has little time
                self._give_back(self._find_lost(*self._lost, ()))
        except QueueError as error:
            log.warning(
                "Redis did not say whether it has begun jobs for this worker; if so, they run again after retry_after",
                extra={"reason": one_line(error)},
            )
        finally:
            self._begin_anew()
            self._calls.close()

    # one call ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(
        self, queues: Sequence[str], most: int, ended: Sequence[Ended], token: int = 0, was_lost: bool = False
    ) -> Taken:
        numbers, keys = self._plan(tuple(queues))
        count = len(numbers)
        ends: list[Any] = []
        if ended:
            numbers, keys = self._add_ends(ends, ended, numbers, keys)
        notes = self._take_notes(numbers) if self._notes and most else NONE
        now = time.monotonic()
        is_due = most > 0 and now >= self._move_at.get(queues[0], 0.0)
        if is_due:
            self._move_at[queues[0]] = now + MOVE_EVERY
        head = (count, most, self.seconds, token, self._moved, int(is_due), LOST if was_lost else notes)
        answer = self._calls.run_often(scripts.take, keys, [*head, *ends])
        number = answer[0]
        if number == 0:
            return Taken((), float(answer[1]) if len(answer) > 1 else None)
        queue = list(numbers)[abs(number) - 1]
        begin = _recall if number < 0 else _begin
        parts = iter(answer)
        next(parts)
        return Taken([begin(queue, token, *four) for four in zip(parts, parts, parts, parts, strict=True)])

    def _add_ends(
        self, values: list[Any], ended: Sequence[Ended], numbers: Mapping[str, int], keys: Sequence[bytes]
    ) -> Plan:
        """Add what has ended to the words of a call: first what is done, by queues, then the rest in its order."""
        done: dict[str, tuple[list[int], list[bytes]]] = {}
        others: list[Any] = []
        for lease, how, delay in ended:
            queue = lease.queue
            if queue not in numbers:
                numbers, keys = {**numbers, queue: len(numbers) + 1}, [*keys, *self._keys(queue)]
            token, member = lease.handle
            if how is How.DELETED:
                tokens, members = done.get(queue) or done.setdefault(queue, ([], []))
                tokens.append(token)
                members.append(member)
            else:
                payload = lease.payload if how in UNCOUNTED else b""
                others += (numbers[queue], HOWS[how], token, member, f"{delay:.6f}", payload)
        if others:
            self._move_at.clear()  # they may be due at once
        for queue, (tokens, members) in done.items():
            for first in range(0, len(tokens), TOGETHER):
                part = slice(first, first + TOGETHER)
                values += (numbers[queue], "d", len(tokens[part]), *tokens[part], *members[part])
        values += others
        return Plan(numbers, keys)

    def _turn_in_cluster(self, queues: Sequence[str], most: int, ended: Sequence[Ended], token: int) -> Taken:
        """The keys of two queues may be on two servers, so that each is asked by itself."""
        self._tell(ended)
        dues = []
        for queue in queues:
            taken = self._turn([queue], most, (), token)
            if taken.leases:
                return taken
            dues += [] if taken.next_due is None else [taken.next_due]
        return Taken((), min(dues, default=None))

    def _tell(self, ended: Sequence[Ended]) -> None:
        for part in self._together(ended):
            self._turn((), 0, part)

    def _find_lost(self, token: int, queues: Sequence[str], ended: Sequence[Ended]) -> Sequence[Lease]:
        """Tell once more what has ended; the jobs that a call without an answer has begun."""
        self._tell(ended)
        for part in [[queue] for queue in queues] if self._is_cluster else [queues]:
            taken = self._turn(part, 0, (), token, was_lost=True)
            if taken.leases:
                return taken.leases
        return ()

    def _give_back(self, leases: Sequence[Lease]) -> None:
        # Each becomes the first one, so that the first is told last.
        self._tell([Ended(lease, How.GIVEN_BACK) for lease in reversed(leases)])

    def _together(self, things: Sequence[T]) -> Sequence[Sequence[T]]:
        """What one call may be about: all, in a Cluster those of one queue."""
        if not self._is_cluster:
            return [things] if things else []
        parts: dict[str, list[T]] = {}
        for thing in things:
            lease = thing.lease if isinstance(thing, Ended) else thing
            parts.setdefault(lease.queue, []).append(thing)
        return list(parts.values())

    def _take_notes(self, numbers: Mapping[str, int]) -> str:
        taken = []
        while self._notes:
            number = numbers.get(self._notes.popleft())
            taken += [] if number is None else [str(number)]
        return ",".join(taken) or NONE

    def _make_plan(self, queues: tuple[str, ...]) -> Plan:
        numbers = dict(zip(dict.fromkeys(queues), NUMBERS, strict=False))
        return Plan(numbers, [key for queue in numbers for key in self._keys(queue)])

    def _make_keys(self, queue: str) -> Keys:
        if self._is_cluster and not HASH_TAG.search(queue):
            raise QueueError(
                f"In a Redis Cluster the keys of a queue have to be on one server, so that the name needs braces: "
                f"{{{queue}}} instead of {queue}."
            )
        try:
            key = f"{self._prefix}queues:{queue}".encode()
        except UnicodeEncodeError as error:
            raise QueueError(
                f"The name of the queue {queue!r} holds half a surrogate pair, and can't be sent."
            ) from error
        return Keys(key, key + b":delayed", key + b":reserved", key + b":notify")


def _begin(queue: str, token: int, payload: bytes, first: int, last: int, text: bytes) -> Lease:
    if text.endswith(DIED):
        member = _changed(payload, first, last, text[:-1])
        return Lease(queue, payload, Held(token + 1, member), has_crashed=True)
    return Lease(queue, payload, Held(token, _changed(payload, first, last, text)))


def _recall(queue: str, token: int, member: bytes, first: int, last: int, text: bytes) -> Lease:
    if text.endswith(DIED):
        payload = _changed(member, first, last, text[:-1])
        return Lease(queue, payload, Held(token + 1, member), has_crashed=True)
    return Lease(queue, _changed(member, first, last, text), Held(token, member))


def _changed(whole: bytes, first: int, last: int, text: bytes) -> bytes:
    """What a script has made of a payload, see `scripts.TAKE`."""
    if first > 0:
        return whole[: first - 1] + text + whole[last:]
    return text if first == WHOLE else whole


def _created_at(payload: bytes | None) -> float | None:
    try:
        return None if payload is None else msgspec.json.decode(payload, type=Envelope).created_at
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None  # it is not for us to say what is wrong with it
