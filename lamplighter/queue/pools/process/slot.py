"""The process of a slot as its worker sees it: what is in hand there, and what its end means for that."""

import logging
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field

from lamplighter.errors import JobTimedOut, SlotDied, Unavailable
from lamplighter.queue.pools.pool import Outcome
from lamplighter.queue.pools.process.wire import Frames
from lamplighter.queue.worker.many import Many
from lamplighter.queue.worker.runner import Start
from lamplighter.queue.worker.verdicts import ErrorElsewhere, Verdict

log = logging.getLogger(__name__)

NEVER = float("inf")


@dataclass(eq=False)
class Slot:
    """One process, with at most one start in it.

    Attributes:
        numbers: those of its jobs that have not ended.
        failing: the errors of those that have failed for good.
        recorded: those of them that are among the failed jobs, so that `failed()` has been called, or runs.
        is_out_of_grace: it has to end since the worker does.
        until: when it is ended, unless it is ready, or has done its job, before; on the monotonic clock.
        kill_at: when it is killed, after it was told to end.
    """

    process: subprocess.Popen[bytes]
    connection: socket.socket
    renew_after: float
    frames: Frames = field(default_factory=Frames)
    is_ready: bool = False
    start: Start | None = None
    numbers: dict[int, Start] = field(default_factory=dict)
    failing: dict[int, ErrorElsewhere] = field(default_factory=dict)
    recorded: set[int] = field(default_factory=set)
    has_begun: bool = False
    is_retiring: bool = False
    timed_out: bool = False
    is_out_of_grace: bool = False
    until: float = NEVER
    kill_at: float = 0.0
    done: int = 0
    looked_at: float = 0.0

    def outcome(self, start: Start, status: int) -> Outcome:
        """What has become of a start that was in hand when the process ended."""
        verdicts = {one: verdict for number, one in self.numbers.items() if (verdict := self._verdict(number, status))}
        if isinstance(start, Many):
            start.verdicts.update(verdicts)
            if len(verdicts) == len(self.numbers):
                return None
        elif start in verdicts:
            return verdicts[start]
        ran = time.monotonic() - start.began
        if self.timed_out and start.policy.timeout and ran >= start.policy.timeout:
            return JobTimedOut(f"{start.name} has run for {ran:.1f} s; its timeout is {start.policy.timeout:g} s.")
        if self.timed_out:
            # As in the other pools: the grace period is over, the start counts, and the next worker runs it again.
            return Verdict("release", error=Unavailable(f"{start.name} has not ended within the grace period."))
        return SlotDied(f"The process of {start.name} ended {how(status)} while the job was running.")

    def _verdict(self, number: int, status: int) -> Verdict | None:
        """What becomes of a job that had failed already when the process ended; None where its handler was running."""
        error = self.failing.get(number)
        if error is None:
            return None
        if number in self.recorded:
            start = self.numbers[number]
            fields = {"job": start.name, "position": start.delivery.position}
            log.error(
                "a slot ended %s in failed(), which is not called again; its job is recorded", how(status), extra=fields
            )
            return Verdict("fail", error=error)
        if self.is_out_of_grace:
            # There is no time for it: the next worker records the job.
            return Verdict("hold", error=error, refusal=Unavailable("The worker ends, and its record took too long."))
        return Verdict("record", error=error)


def how(status: int) -> str:
    """How a process has ended."""
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with exit code {status}"
