"""Jobs in SQS, as a `JobStore`."""

import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any

from lamplighter.contracts import Message, Sizes
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.leasing.lost import LostAnswers
from lamplighter.queue.drivers.leasing.store import UNCOUNTED, Ended, How, Lease, Taken
from lamplighter.queue.drivers.sqs.account import FIFO, Account, Refused, Unheard, is_later
from lamplighter.queue.drivers.sqs.messages import body_of, headers_of, key_of
from lamplighter.queue.drivers.sqs.sending import LONGEST_DELAY, TOGETHER, Sending
from lamplighter.queue.failed.attempts import with_attempts
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.worker.outages import Outages
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

LONGEST_LEASE = 12 * 3600  # seconds from when a message was received, however often its visibility is extended
REST = 1.0  # seconds between two looks that are not long polls
LEAST_LEFT = 3  # a long poll lasts for so much less than a lease: the lease is counted from when SQS is asked
SLOW = "SQS takes a large part of retry_after to give out jobs; a longer one keeps others from running them, too"
FILLING = 10  # jobs are received for so great a part of a lease in one call
REMEMBERED = 900.0  # seconds at least, since what is back after a lost answer may stand behind many others
MOST_UNCOUNTED = 1000
NOTE = "SQS counts approximately."
LACKS = {
    "held": "SQS shows no message before it is due.",
    "cancel": "SQS deletes only what it has given out, which it does not before a job is due.",
}


@dataclass(slots=True, eq=False)
class Received:
    """The handle of a lease.

    Attributes:
        received: before SQS was asked for it, on the monotonic clock.
        until: when others may receive it, at the earliest.
        is_told: SQS has heard of its end, though perhaps not of another one that was told with it.
        is_copied: what is left of its end is to delete it.
        is_uncounted: this process remembers that this start does not count.
    """

    id: str
    receipt: str
    attributes: Mapping[str, Any]
    received: float
    until: float
    is_told: bool = False
    is_copied: bool = False
    is_uncounted: bool = False


class SqsStore:
    """Receives no more than the worker begins at once: each reception is a start that SQS counts.

    SQS does not take a count back. From a queue that is not FIFO, a job that is given back without its start is sent
    once more and then deleted. In a FIFO queue that would break its order: a job that is excused stays in this worker,
    and of one that is given back only this process remembers it.
    """

    look_every = REST
    keeps_headers = True
    lacks: Mapping[str, str] = MappingProxyType(LACKS)

    def __init__(self, account: Account, *, seconds: int, block_for: int = 0) -> None:
        self.seconds: float = seconds
        self._visibility = seconds
        self._remembered = max(2 * seconds, REMEMBERED)
        self._poll_for = min(block_for, seconds // LEAST_LEFT)
        self.poll_for: float = self._poll_for
        self._account = account
        self._sending = Sending(account)
        self._begin_anew()
        watch(self, in_child=SqsStore._begin_anew)

    def _begin_anew(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._uncounted: OrderedDict[str, int] = OrderedDict()
        self._lost = LostAnswers()
        self._outages = Outages()
        self._tries: dict[str, str] = {}
        self._polled: str | None = None  # the queue that a long poll waits for

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Send them; delays are whole seconds."""
        self._sending.send(queue, messages, max(0, math.ceil(delay)))

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Settle, then ask one queue after the other, but for one that `poll` waits for."""
        kept = self._settle(ended)
        leases: list[Lease] = []
        for queue in queues if most else ():
            leases = [] if queue == self._polled else self._receive(queue, most)
            if leases:
                break
        return Taken(leases, kept=kept)

    def poll(self, queue: str) -> Sequence[Lease]:
        """One long poll. SQS does not notice that it is given up: it may give it a job all the same."""
        self._polled = queue
        try:
            return self._ask(queue, 1, self._poll_for)
        finally:
            self._polled = None

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Extend their visibility timeouts; what was received twelve hours ago is lost."""
        now = time.monotonic()
        lost: list[tuple[Lease, int]] = []
        asked: list[tuple[Lease, int]] = []
        for lease in leases:
            left = lease.handle.received + LONGEST_LEASE - now
            # By our clock: SQS may take the receipt of a reception that was not the last one.
            is_ours = self._leases.get(lease.handle.id) is lease and left >= 1 and now < lease.handle.until
            (asked if is_ours else lost).append((lease, min(self._visibility, int(left))))
        seconds_of = dict(asked)

        def renewed(lease: Lease) -> None:
            lease.handle.until = now + seconds_of[lease]

        refused = self._change(asked, done=renewed)
        return [*(lease for lease, _ in lost), *refused]

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Nothing tells of several queues: what this received would be a start that nobody may come to run."""
        time.sleep(seconds)
        return False

    def sizes(self, queue: str) -> Sizes:
        """SQS's approximate numbers."""
        names = ("", "Delayed", "NotVisible")
        wanted = [f"ApproximateNumberOfMessages{name}" for name in names]
        found = self._account.ask("get_queue_attributes", queue, AttributeNames=wanted).get("Attributes")
        if not found:
            raise Unavailable(f"SQS does not say how many messages the queue {queue!r} has.")
        pending, delayed, reserved = (int(found.get(name, 0)) for name in wanted)
        return Sizes(pending, delayed, reserved=reserved, notes=(NOTE,))

    def clear(self, queue: str) -> int:
        """Purge the queue, what is in workers' hands as well; SQS allows that once a minute."""
        sizes = self.sizes(queue)
        try:
            self._account.ask("purge_queue", queue)
        except Refused as refusal:
            if "PurgeQueueInProgress" not in refusal.code:
                raise
            if not (sizes.pending or sizes.delayed or sizes.reserved):
                return 0
            raise QueueError(
                f"SQS clears a queue once in 60 seconds, and {queue!r} was cleared before. Wait, and try again."
            ) from refusal
        return sizes.pending + (sizes.delayed or 0) + sizes.reserved

    def close(self) -> None:
        """Close the connections."""
        self._leases.clear()
        self._account.close()

    # receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, queue: str, most: int) -> list[Lease]:
        """Nobody renews what is received here before it is returned, and no job of it begins: so not for long."""
        leases: list[Lease] = []
        # One request may give out several messages of one group; the next one passes over groups that are in hand.
        together = 1 if queue.endswith(FIFO) else TOGETHER
        began = time.monotonic()
        while len(leases) < most and (not leases or time.monotonic() < began + self._visibility / FILLING):
            wanted = min(together, most - len(leases))
            try:
                received = self._ask(queue, wanted, 0)
            except Unavailable:
                if leases:
                    break  # they have begun; the next call meets the outage
                raise
            leases += received
            if len(received) < wanted:
                break
        return self._lasting(leases) if time.monotonic() > began + self._visibility / LEAST_LEFT else leases

    def _lasting(self, leases: list[Lease]) -> list[Lease]:
        """Of what SQS took long to give out, that whose lease others do not have yet, renewed."""
        if self._outages.is_new(SLOW):
            log.warning(SLOW, extra={"retry_after": self._visibility})
        try:
            lost = list(self.renew(leases))
        except Unavailable:
            lost = [lease for lease in leases if time.monotonic() >= lease.handle.until]
        for lease in lost:
            self._leases.pop(lease.handle.id, None)
        if lost:
            self._lost.expect(len(lost), self._remembered)
        return [lease for lease in leases if lease not in lost]

    def _ask(self, queue: str, most: int, wait: int) -> list[Lease]:
        arguments: dict[str, Any] = {}
        if queue.endswith(FIFO):
            # A receive whose answer was lost is asked again under its name, and gives out the same messages.
            arguments["ReceiveRequestAttemptId"] = self._tries.setdefault(queue, secrets.token_hex(16))
        now = time.monotonic()
        try:
            answer = self._account.ask(
                "receive_message",
                queue,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=wait,
                VisibilityTimeout=self._visibility,
                AttributeNames=["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId", "MessageDeduplicationId"],
                MessageAttributeNames=["All"],
                **arguments,
            )
        except Unheard:
            self._lost.expect(most, self._remembered)
            raise
        self._tries.pop(queue, None)
        return [self._lease(queue, message, now) for message in answer.get("Messages", ())]

    def _lease(self, queue: str, message: Mapping[str, Any], received: float) -> Lease:
        id, system = str(message["MessageId"]), message.get("Attributes", {})
        starts = max(0, int(system.get("ApproximateReceiveCount", 1)) - 1 - self._uncounted.get(id, 0))
        if starts:
            starts -= self._lost.take_back()
        handle = Received(
            id,
            str(message["ReceiptHandle"]),
            message.get("MessageAttributes", {}),
            received,
            received + self._visibility,
        )
        sent = system.get("SentTimestamp")
        lease = Lease(
            queue=queue,
            payload=str(message["Body"]).encode(),
            handle=handle,
            retries=starts,
            mark=id,
            timestamp_ms=None if sent is None else int(sent),
            key=key_of(message, queue),
            headers=headers_of(message),
            has_crashed=None,  # SQS tells no crash from a release
        )
        self._leases[id] = lease
        return lease

    # settling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, ended: Sequence[Ended]) -> list[Ended]:
        """Tell of ends; those of starts that would count all the same, so that they have not ended."""
        deleted: list[Lease] = []
        changed: list[tuple[Lease, int]] = []
        kept: list[Ended] = []
        for end in ended:
            lease, handle = end.lease, end.lease.handle
            is_ours = self._leases.get(handle.id, lease) is lease and time.monotonic() < handle.until
            if is_ours and not handle.is_told:
                if end.how is How.DELETED or handle.is_copied or self._is_copied(end):
                    deleted.append(lease)
                elif end.how is How.EXCUSED:
                    kept.append(end)
                else:
                    changed.append((lease, self._hidden_for(end)))
        self._log_refused(self._change(changed, done=_told))
        self._log_refused(self._delete(deleted))
        staying = {end.lease for end in kept}
        for end in ended:
            if end.lease not in staying and self._leases.get(end.lease.handle.id) is end.lease:
                del self._leases[end.lease.handle.id]
        return kept

    def _log_refused(self, reasons: Mapping[Lease, str]) -> None:
        for lease, reason in reasons.items():
            lease.handle.is_told = True
            fields = {"position": f"{lease.queue}#{lease.mark}", "reason": reason}
            log.warning("SQS refuses the end of a job, which may run again", extra=fields)

    def _hidden_for(self, end: Ended) -> int:
        """Whole seconds that a released message is not seen, as long as SQS allows."""
        if end.how is How.GIVEN_BACK:
            self._uncount(end.lease.handle)
        wanted = max(0, math.ceil(end.delay))
        most = max(0, int(end.lease.handle.received + LONGEST_LEASE - time.monotonic()))
        if wanted > most:
            log.warning(
                "SQS holds a job back for 12 hours at most; it runs again earlier than it was to",
                extra={"queue": end.lease.queue, "delay": wanted, "most": most},
            )
        return min(wanted, most)

    def _uncount(self, handle: Received) -> None:
        """Once, also where the end has to be told again."""
        if handle.is_uncounted:
            return
        handle.is_uncounted = True
        self._uncounted[handle.id] = self._uncounted.get(handle.id, 0) + 1
        if len(self._uncounted) > MOST_UNCOUNTED:
            self._uncounted.popitem(last=False)

    def _is_copied(self, end: Ended) -> bool:
        """Send a job again whose start is not to count, with the starts before it in its payload; whether that is done.

        Not in a FIFO queue, whose order that would break; nor for longer than a message can be delayed.
        """
        lease, delay = end.lease, max(0, math.ceil(end.delay))
        if end.how not in UNCOUNTED or lease.queue.endswith(FIFO) or delay > LONGEST_DELAY:
            return False
        payload = with_attempts(lease.payload, lease.retries) if lease.retries else lease.payload
        if payload is None:
            return False
        attributes = {
            name: {key: value for key, value in attribute.items() if key in ("DataType", "StringValue", "BinaryValue")}
            for name, attribute in lease.handle.attributes.items()
        }
        try:
            entry = {"MessageBody": body_of(payload), "DelaySeconds": delay}
            self._sending.send_copy(lease.queue, {**entry, "MessageAttributes": attributes} if attributes else entry)
        except Unavailable:
            raise
        except QueueError as error:
            reason = one_line(error)
            if self._outages.is_new(reason):
                log.warning("a job can't be sent anew, so that it waits in this worker", extra={"reason": reason})
            return False
        lease.handle.is_copied = True
        return True

    def _delete(self, leases: Sequence[Lease]) -> Mapping[Lease, str]:
        entries = [(lease, {"ReceiptHandle": lease.handle.receipt}) for lease in leases]
        return self._batched("delete_message_batch", entries, done=_told)

    def _change(self, wanted: Sequence[tuple[Lease, int]], *, done: Callable[[Lease], object]) -> Mapping[Lease, str]:
        """Let messages be seen again in so many seconds; those that SQS refuses this for, and why."""
        entries = [
            (lease, {"ReceiptHandle": lease.handle.receipt, "VisibilityTimeout": seconds}) for lease, seconds in wanted
        ]
        return self._batched("change_message_visibility_batch", entries, done=done)

    def _batched(
        self, operation: str, entries: Sequence[tuple[Lease, dict[str, Any]]], *, done: Callable[[Lease], object]
    ) -> Mapping[Lease, str]:
        """Ask for ten at a time, and call `done` of each that is; those that SQS refuses for good, and why.

        Raises:
            Unavailable: some of them have to be asked for again.
        """
        refused: dict[Lease, str] = {}
        later: list[str] = []
        for queue, pairs in groupby(sorted(entries, key=_queue), key=_queue):
            of_queue = list(pairs)
            for first in range(0, len(of_queue), TOGETHER):
                part = of_queue[first : first + TOGETHER]
                asked = [{"Id": str(number), **entry} for number, (_, entry) in enumerate(part)]
                answer = self._account.ask(operation, queue, Entries=asked)
                failed = {str(one["Id"]): one for one in answer.get("Failed", ())}
                for number, (lease, _) in enumerate(part):
                    failure = failed.get(str(number))
                    if failure is None:
                        done(lease)
                        continue
                    reason = f"{failure.get('Code', '')} {failure.get('Message', '')}".strip()
                    if failure.get("SenderFault", True) and not is_later(reason.partition(" ")[0]):
                        refused[lease] = reason
                    else:
                        later.append(reason)
        if later:
            raise Unavailable(f"SQS could not do {operation} for {len(later)} jobs: {later[0]}")
        return refused


def _told(lease: Lease) -> None:
    lease.handle.is_told = True


def _queue(pair: tuple[Lease, dict[str, Any]]) -> str:
    return pair[0].queue
