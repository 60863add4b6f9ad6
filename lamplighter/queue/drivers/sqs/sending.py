"""Puts messages into a queue of SQS, ten at a time; none is lost, and none is called sent that was not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable, UnsupportedDelay
from lamplighter.queue.drivers.sqs.account import FIFO, Account, Refused
from lamplighter.queue.drivers.sqs.messages import entry_of, size_of

TOGETHER = 10
# A message has at most what its queue says, 1 MiB at most. A batch has 1 MiB in all since August 2025, and had 256 KiB
# before, as it has still on servers beside Amazon's.
LARGEST = 1024 * 1024
LARGEST_BATCH = 256 * 1024
LONGEST_DELAY = 900


class Sending:
    """Sends; knows how large the messages of each queue may be."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._limits: dict[str, int] = {}

    def send(self, queue: str, messages: Sequence[Message], delay: int) -> None:
        """Return when SQS has all of them.

        Raises:
            Unavailable: they may be there, or not.
            UnsupportedDelay: SQS does not hold them back for so long.
            QueueError: SQS can't take one of them; the message says how many it has.
        """
        is_fifo = queue.endswith(FIFO)
        _look_at_delay(delay, queue, is_fifo=is_fifo)
        entries = [entry_of(message, queue=queue, is_fifo=is_fifo, delay=delay) for message in messages]
        limit = self._limit(queue)
        for entry in entries:
            size = size_of(entry)
            if size > limit:
                raise MessageTooLarge(
                    f"The job has {size:,} bytes, and the queue {queue!r} of SQS takes at most {limit:,}.",
                    size=size,
                    limit=limit,
                )
        sent = 0
        for batch in _batches(entries):
            try:
                self._send_batch(queue, batch)
            except Unavailable:
                raise
            except QueueError as error:
                if sent:
                    error.args = (f"{error} At least {sent} of {len(entries)} messages are on the queue.",)
                raise
            sent += len(batch)

    def send_copy(self, queue: str, entry: Mapping[str, Any]) -> None:
        """Send one message as it is."""
        self._account.ask("send_message", queue, **entry)

    def _send_batch(self, queue: str, batch: Sequence[Mapping[str, Any]]) -> None:
        """A batch is answered one by one: what has failed in it is sent by itself, and says why it fails."""
        if len(batch) == 1:
            self._account.ask("send_message", queue, **batch[0])
            return
        entries = [{"Id": str(number), **entry} for number, entry in enumerate(batch)]
        answer = self._account.ask("send_message_batch", queue, Entries=entries)
        sent = {str(one["Id"]) for one in answer.get("Successful", ())}
        for entry in entries:
            if entry["Id"] not in sent:
                self._account.ask("send_message", queue, **batch[int(entry["Id"])])

    def _limit(self, queue: str) -> int:
        """Asked for once; who may not ask is told by SQS which message is too large."""
        limit = self._limits.get(queue)
        if limit is None:
            try:
                answer = self._account.ask("get_queue_attributes", queue, AttributeNames=["MaximumMessageSize"])
            except Refused:
                answer = {}
            limit = self._limits[queue] = int(answer.get("Attributes", {}).get("MaximumMessageSize", LARGEST))
        return limit


def _batches(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    total = 0
    for entry in entries:
        size = size_of(entry)
        if batch and (len(batch) == TOGETHER or total + size > LARGEST_BATCH):
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch


def _look_at_delay(delay: int, queue: str, *, is_fifo: bool) -> None:
    if delay > 0 and is_fifo:
        raise UnsupportedDelay(
            f"SQS holds back no single message of a FIFO queue, as {queue!r} is; only the queue as a whole has a delay "
            f"(DelaySeconds). Dispatch the job on another queue."
        )
    if delay > LONGEST_DELAY:
        raise UnsupportedDelay(
            f"SQS holds a message back for at most {LONGEST_DELAY} seconds, and not for {delay:,}. Dispatch the job on "
            f"another connection, or let a job dispatch it when it is time."
        )
