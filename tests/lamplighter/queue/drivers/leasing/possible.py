"""What may have become of jobs, as far as workers know that have lost some answers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lamplighter.queue.drivers.leasing.store import Ended, How, Lease

SLACK = 0.01  # seconds by which the clocks of a server and of the test may differ


@dataclass(frozen=True)
class State:
    """Where a job may be, and how often it was started.

    Attributes:
        owner: the lease by which it is held, or the worker whose call has begun it without an answer.
    """

    place: Literal["waiting", "held", "unheard", "gone"]
    starts: int = 0
    owner: object = None


@dataclass
class Job:
    """One job.

    Attributes:
        states: in each of them it may be, with when it is due then, or its lease runs out, at the earliest.
    """

    queue: str
    states: dict[State, float]
    history: list[str] = field(default_factory=list)

    def may_be(self, state: State, at: float) -> None:
        """One more of its states."""
        self.states[state] = min(at, self.states.get(state, at))

    def starts_for(self, worker: object, now: float) -> set[int]:
        """As which start of it a worker may be given this job now."""
        found = set()
        for state, at in self.states.items():
            if state.place != "gone" and now >= at - SLACK:
                found.add(state.starts + 1)
            if state.place == "unheard" and state.owner is worker:
                found.add(state.starts)
        return found


class Jobs:
    """All jobs of a run. Each method is told what a worker has asked for, and when.

    Args:
        seconds: how long a lease lasts.
    """

    def __init__(self, seconds: float) -> None:
        self.by_number: dict[int, Job] = {}
        self._seconds = seconds

    def pushed(self, number: int, queue: str, due: float, *, is_sure: bool) -> None:
        """A push, with an answer or without."""
        job = self.by_number[number] = Job(queue, {State("waiting"): due})
        if not is_sure:
            job.states[State("gone")] = 0.0

    def ended(self, number: int, end: Ended, asked: float, now: float, *, is_sure: bool) -> None:
        """An end that was told; it was first told when `asked` says."""
        job = self.by_number[number]
        for state, at in list(job.states.items()):
            if state.owner is not end.lease:
                continue
            if is_sure and now < at - SLACK:  # else it may have run out, and the end may have changed nothing
                del job.states[state]
            if end.how is How.DELETED:
                job.may_be(State("gone"), 0.0)
            else:
                starts = state.starts if end.how is How.RELEASED else state.starts - 1
                job.may_be(State("waiting", starts), 0.0 if end.how is How.GIVEN_BACK else asked + end.delay)

    def unheard(self, worker: object, queues: Collection[str], asked: float, now: float) -> None:
        """A take without an answer may have begun any job that could be taken."""
        for job in self.by_number.values():
            if job.queue in queues:
                for starts in job.starts_for(None, now):
                    job.may_be(State("unheard", starts, worker), asked + self._seconds)

    def taken(self, worker: object, leases: dict[Lease, tuple[int, int]], asked: float, now: float) -> None:
        """A take has given these leases, of jobs by their numbers, as which start of each."""
        for lease, (number, start) in leases.items():
            job = self.by_number[number]
            possible = job.starts_for(worker, now)
            assert start in possible, f"job {number} was given as start {start}, and not as {possible}: {job}"
            job.states = {State("held", start, lease): asked + self._seconds}
        self.gone_back(worker, now)

    def gone_back(self, worker: object, now: float) -> None:
        """What calls of a worker have begun without an answer was given out by now, or has gone back uncounted."""
        for job, state, at in self._unheard(worker):
            job.may_be(State("waiting", state.starts - 1), 0.0)
            if now >= at - SLACK:  # its lease was over before anybody asked for it
                job.may_be(State("unheard", state.starts), at)

    def killed(self, worker: object) -> None:
        """What calls of a worker have begun without an answer waits until its lease is over, or has gone back."""
        for job, state, at in self._unheard(worker):
            job.may_be(State("unheard", state.starts), at)
            job.may_be(State("waiting", state.starts - 1), 0.0)

    def _unheard(self, worker: object) -> list[tuple[Job, State, float]]:
        found = [
            (job, state, at)
            for job in self.by_number.values()
            for state, at in job.states.items()
            if state.place == "unheard" and state.owner is worker
        ]
        for job, state, _ in found:
            del job.states[state]
        return found

    def renewed(self, numbers: dict[Lease, int], lost: Sequence[Lease], asked: float, now: float) -> None:
        """A renewal, with its answer."""
        for lease, number in numbers.items():
            job = self.by_number[number]
            if lease in lost:
                states = {
                    state: at for state, at in job.states.items() if state.owner is not lease or now >= at - SLACK
                }
            else:
                states = {state: asked + self._seconds for state in job.states if state.owner is lease}
            assert states, f"the lease of job {number} was {'lost' if lease in lost else 'renewed'}: {job}"
            job.states = states

    def left(self) -> dict[int, Job]:
        """Those that are not done for sure, and can't be where no job is left."""
        return {number: job for number, job in self.by_number.items() if State("gone") not in job.states}
