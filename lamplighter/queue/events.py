"""What happens to jobs and workers; listeners are named by these classes."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from lamplighter.queue.worker.runner import Start


class WorkerStarting(msgspec.Struct):
    """A worker is about to take its first job."""

    connection: str
    queues: tuple[str, ...]


class WorkerStopping(msgspec.Struct):
    """A worker has taken its last job; `reason` is the value of a StopReason."""

    status: int
    reason: str
    jobs_processed: int


class WorkerIdle(msgspec.Struct):
    """A worker found nothing to do."""

    connection: str
    queues: tuple[str, ...]


class WorkerQueuePaused(msgspec.Struct):
    """A worker has seen that one of its queues is paused."""

    connection: str
    queue: str


class WorkerQueueResumed(msgspec.Struct):
    """A worker takes jobs from one of its queues again."""

    connection: str
    queue: str


class QueuePaused(msgspec.Struct):
    """`queue:pause` has paused a queue; `QueuesPaused` all of them."""

    connection: str
    queue: str


class QueueResumed(msgspec.Struct):
    """`queue:resume` lets a queue go on; `QueuesResumed` all of them."""

    connection: str
    queue: str


class QueuesPaused(msgspec.Struct):
    """`queue:pause --all` has paused all queues of all connections."""


class QueuesResumed(msgspec.Struct):
    """`queue:resume --all` lets all queues go on that are not paused by name."""


class JobProcessing(msgspec.Struct, gc=False):
    """A job is about to be handled."""

    start: "Start"


class JobProcessed(msgspec.Struct, gc=False):
    """A handler came to its end without an exception, after `duration` seconds."""

    start: "Start"
    duration: float


class JobReleased(msgspec.Struct):
    """A job will run again in `delay` seconds: after an exception, or as its handler asked (`error` is None)."""

    start: "Start"
    duration: float
    delay: float
    error: BaseException | None


class JobFailed(msgspec.Struct):
    """A job is among the failed jobs."""

    start: "Start"
    duration: float
    error: BaseException


class JobTimedOut(msgspec.Struct):
    """A job ran longer than its timeout; its worker is about to end."""

    start: "Start"
    timeout: float


class WorkerStalled(msgspec.Struct):
    """A worker stands still though there is something to do, and is about to end; told in a thread of its own."""

    connection: str
    queues: tuple[str, ...]
    seen: str


class QueueBusy(msgspec.Struct):
    """`queue:monitor` has found as many jobs as it was told not to let pass, or more."""

    connection: str
    queue: str
    size: int


class JobQueued(msgspec.Struct):
    """A message was pushed and is safe."""

    connection: str
    queue: str
    id: str
    payload: bytes


class QueueFailedOver(msgspec.Struct):
    """The connection `failed` of a failover `connection` did not take a job, and a later one has."""

    connection: str
    failed: str
    queue: str
    error: BaseException
