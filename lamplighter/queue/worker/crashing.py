"""An error that is no job's own ends the worker: which start counts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lamplighter.logging.context import job_context
from lamplighter.queue.worker.many import Many
from lamplighter.queue.worker.runner import Start

log = logging.getLogger(__name__)


@contextmanager
def crash_counted() -> Iterator[None]:
    """Count the start of the job that the loop was dealing with, where an error leaves the body and so ends the worker.

    An owner that leaves in order tells the next one that nothing which is in hand was started. So a job whose
    settlement meets an error of the framework's own would come again for ever, end each worker, and have what stands
    behind it never run. It counts as a job that its worker has died of. All else that is in hand is not charged, and
    where the loop dealt with no job, none is.
    """
    try:
        yield
    except BaseException:
        start = job_context.get()
        if isinstance(start, Start):
            job_context.set(None)  # what goes wrong at the end, too, counts it no second time
            _count(start)
        raise


def _count(start: Start) -> None:
    for one in start.starts if isinstance(start, Many) else (start,):
        if one.delivery.count_crash():
            log.error(
                "an error that is not the job's own ends the worker; the start of the job counts",
                extra={"job": one.name, "position": one.delivery.position},
            )
