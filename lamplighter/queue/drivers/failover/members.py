"""What is asked of all connections of a failover: a job that is due later waits where it was pushed."""

import heapq
import logging
from collections.abc import Mapping, Sequence

from lamplighter.contracts import HeldJob, Queue
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.failed.trace import one_line

log = logging.getLogger(__name__)

ANYWHERE = ("held", "cancel")  # what the whole can do where any of its connections can


def lacks_of(queues: Sequence[Queue]) -> Mapping[str, str]:
    """What the first connection lacks, but for what another one can do in its place."""
    first = queues[0]
    lacks = {
        what: why
        for what, why in first.lacks.items()
        if not (what in ANYWHERE and any(what not in queue.lacks for queue in queues))
    }
    others = others_that_keep_jobs(queues)
    if others and "clear" not in lacks:
        names = ", ".join(f"`queue:clear {queue.connection}`" for queue in others)
        lacks["clear_others"] = (
            f"Only the jobs of {first.connection!r} are deleted. What went to others stays: {names}."
        )
    return lacks


def others_that_keep_jobs(queues: Sequence[Queue]) -> list[Queue]:
    """Those behind the first one on which jobs may wait."""
    return [queue for queue in queues[1:] if "work" not in queue.lacks]


def held_by(queues: Sequence[Queue], *, most: int) -> list[HeldJob]:
    """The jobs of all connections that are due later, the earliest first."""
    found: list[list[HeldJob]] = []
    for queue in queues:
        if "held" not in queue.lacks:
            found.append(list(queue.held(most=most)))
        elif "work" not in queue.lacks:
            log.warning(
                "the delayed jobs of a connection can't be listed",
                extra={"connection": queue.connection, "reason": queue.lacks["held"]},
            )
    return heapq.nsmallest(most, (job for jobs in found for job in jobs), key=lambda job: job.due)


def cancel_in(queues: Sequence[Queue], id: str) -> int:
    """Take back what waits under this id, wherever that is; how many jobs that were.

    Raises:
        Unavailable: it is nowhere else, and a connection on which it may be does not answer.
        QueueError: the same, of a connection that can't cancel a job.
    """
    count = 0
    away: list[Unavailable] = []
    unable: list[Queue] = []
    for queue in queues:
        if "cancel" in queue.lacks:
            unable += [queue] if "work" not in queue.lacks else []
            continue
        try:
            count += queue.cancel(id)
        except Unavailable as error:
            away.append(error)
    if count:
        if away:
            log.warning("a connection could not be asked for the job, too", extra={"reason": one_line(away[0])})
        return count
    if away:
        raise away[0]
    if unable:
        name, why = unable[0].connection, unable[0].lacks["cancel"]
        raise QueueError(f"No delayed job of this id was found. It may be on {name!r}, which can't cancel a job. {why}")
    return 0
