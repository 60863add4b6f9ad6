"""What one owner tells the next of a job: how often it was started, and what it has failed with."""

import time

from lamplighter.errors import LamplighterError, OrderBlocked
from lamplighter.kafka.partitions.offset_map import Mark
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.queue.failed.trace import message
from lamplighter.queue.worker.verdicts import ErrorElsewhere
from lamplighter.support.foreign import path_of

BETWEEN = "|"  # in no name of a module or a class
TRACE_GONE = "Its trace is gone with the worker that ran the job; this is what it has left for whoever records it."


class FailedElsewhere(LamplighterError):
    """A job has failed in an earlier worker, whose error did not fit into what it has left."""


def mark_of(delivery: KafkaDelivery, *, retries: int | None = None, due: int = 0, in_hand: bool = False) -> Mark:
    """What is known of a delivery, and told with the next commit."""
    error = delivery.failure
    return Mark(
        delivery.retries if retries is None else retries,
        due,
        in_hand,
        delivery.has_crashed,
        None if error is None else text_of(error),
    )


def take_over(mark: Mark, delivery: KafkaDelivery) -> None:
    """Have a delivery go on where an earlier owner has left it: to be run again, or to be recorded as failed."""
    delivery.retries = mark.retries
    delivery.has_crashed = mark.has_crashed
    if mark.failure is not None:
        delivery.failure = failure_of(mark.failure)


def blocked(delivery: KafkaDelivery, limit: float) -> OrderBlocked:
    """The error of a job that others of its order key must not wait for any longer."""
    return OrderBlocked(
        f"The job at {delivery.position} has made the jobs behind it wait for as long as key_block_limit allows, "
        f"{limit:g} s, and still has to be tried again."
    )


def blocks_for_too_long(delivery: KafkaDelivery, delay: float, limit: float) -> bool:
    """Whether one that waits for `delay` seconds more would make those behind it wait for longer than the limit."""
    now = time.monotonic()
    delivery.blocked_since = delivery.blocked_since or now
    return bool(limit) and delivery.order_key is not None and now + delay - delivery.blocked_since > limit


def text_of(error: BaseException) -> str:
    """An error as the next owner is told of it."""
    return BETWEEN.join((*path_of(error), message(error)))


def failure_of(text: str) -> BaseException:
    """The error that an earlier owner has told of, or one that says as much as there is."""
    module, _, rest = text.partition(BETWEEN)
    name, _, said = rest.partition(BETWEEN)
    # The text may be cut, and anybody may have written it.
    if not all(part.isidentifier() for part in f"{module}.{name}".replace("<locals>", "locals").split(".")):
        return FailedElsewhere("The job has failed in an earlier worker, and its error is not known any more.")
    return ErrorElsewhere.of(module, name, said, TRACE_GONE)
