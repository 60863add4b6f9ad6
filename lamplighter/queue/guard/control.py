"""What others ask of a worker, and why it may stop."""

import time
from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue

NEVER = float("inf")


class StopReason(Enum):
    """Why a worker stops, with its exit code; the first that holds, in this order, is the one."""

    INTERRUPTED = ("interrupted", 0)
    STALLED = ("stalled", 75)  # EX_TEMPFAIL of sysexits.h: another try may succeed
    MEMORY = ("memory", 12)
    RESTART_SIGNAL = ("restart_signal", 0)
    MAINTENANCE = ("maintenance", 0)
    PAUSED = ("paused", 0)
    EMPTY = ("empty", 0)
    EMPTY_FOR = ("empty_for", 0)
    MAX_TIME = ("max_time", 0)
    MAX_JOBS = ("max_jobs", 0)
    TIMED_OUT = ("timed_out", 137)

    def __init__(self, reason: str, exit_code: int) -> None:
        self.reason = reason
        self.exit_code = exit_code


class Control:
    """Asks a worker to stop, to pause, to go on: safe in signal handlers, and from any thread.

    Attributes:
        bell: rung whenever something was asked for; queues ring it when something has arrived.
        asked: the reasons to stop that were given.
        stopped_at: when the worker was first told to stop, on the monotonic clock, by others or by its own limits.
        stops: gets a word then, for whoever waits for that moment.
        limit: a deadline for whatever is in hand, on the monotonic clock: the end of the grace period.
        is_paused: no further job is taken, since somebody has paused the worker.
        paused_queues: no further job of these queues is taken; the others go on.
        is_down: no further job is taken, since the application is in maintenance mode.
        between_jobs: what the loop is to do as soon as no job is there, in its own thread.
    """

    def __init__(self, *, grace: float | None = None) -> None:
        self.bell: SimpleQueue[object] = SimpleQueue()
        self.asked: set[StopReason] = set()
        self.stopped_at = NEVER
        # No event of `threading`: a signal handler that interrupts its `set` would wait for its lock for ever.
        self.stops: SimpleQueue[None] = SimpleQueue()
        self.limit = NEVER
        self.is_paused = False
        self.paused_queues: frozenset[str] = frozenset()
        self.is_down = False
        self.between_jobs: Callable[[], object] | None = None
        self._grace = grace

    def ask_to_stop(self, reason: StopReason) -> None:
        """Finish the jobs in hand, then stop."""
        if reason is StopReason.INTERRUPTED and reason not in self.asked and self._grace is not None:
            self.limit = time.monotonic() + self._grace
        self.asked.add(reason)
        self.begin_to_stop()
        self.bell.put(None)

    def do_between_jobs(self, action: Callable[[], object]) -> None:
        """Have the loop do something as soon as no job is there."""
        if self.between_jobs is None:
            self.between_jobs = action
            self.bell.put(None)

    def begin_to_stop(self) -> None:
        """The worker takes no further job: from here on its end has a deadline."""
        if self.stopped_at == NEVER:
            self.stopped_at = time.monotonic()
            self.stops.put(None)

    def pause(self) -> None:
        """Take no further job until `resume`."""
        self.is_paused = True
        self.bell.put(None)

    def resume(self) -> None:
        """Take jobs again."""
        self.is_paused = False
        self.bell.put(None)

    def tell_maintenance(self, *, is_down: bool) -> None:
        """Take no further job while the application is down."""
        if is_down != self.is_down:
            self.is_down = is_down
            self.bell.put(None)

    def tell_paused(self, queues: frozenset[str]) -> None:
        """Somebody has paused these queues of the worker, and no others."""
        if queues != self.paused_queues:
            self.paused_queues = queues
            self.bell.put(None)

    @property
    def is_held(self) -> bool:
        """Whether no job is taken for now, on purpose."""
        return self.is_paused or self.is_down

    @property
    def takes_jobs(self) -> bool:
        """Whether further jobs are taken: nobody has paused the worker, nor asked it to stop."""
        return not (self.is_held or self.asked)

    def first_reason(self) -> StopReason:
        """The first of the reasons that were given; there must be one."""
        return min(self.asked, key=list(StopReason).index)

    def status(self) -> int:
        """The exit code of what was asked for; 0 where the worker stops by itself."""
        return self.first_reason().exit_code if self.asked else 0
