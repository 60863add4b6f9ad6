"""What must be in order is in order."""

from collections import defaultdict
from collections.abc import Hashable
from itertools import pairwise

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Run
from tests.faults.chaos.left import Message
from tests.faults.chaos.promises import Found, Promise


def order_is_kept(evidence: Evidence) -> Found:
    """No job starts before those have come to an end that stand before it under its key, or in its partition."""
    for messages in _queues(evidence).values():
        for first, second in pairwise(messages):
            runs = evidence.history.positions[second.position]
            if not runs:
                continue
            done = evidence.concluded.get(first.position)
            if done is None or (runs[0].began < done and not _share_a_call(evidence, first, runs[0])):
                when = "never" if done is None else f"{done - runs[0].began:.3f} s later"
                before = f"job {first.n} at {first.position}, which stands before it"
                yield second.n, f"was started at {second.position}, and {before}, came to its end {when}"


def none_runs_beside_another(evidence: Evidence) -> Found:
    """No two of one key run at the same time, unless the worker of one was lost."""
    for messages in _queues(evidence).values():
        runs = sorted(
            (run for message in messages for run in evidence.history.positions[message.position]),
            key=lambda run: run.began,
        )
        for first, second in pairwise(runs):
            if first.ended is not None and first.ended <= second.began:
                continue
            if (first.call and first.call == second.call) or _was_cut_off(evidence, first, second):
                continue
            yield second.n, f"ran at {second.position} beside job {first.n} at {first.position}, of the same key"


def _was_cut_off(evidence: Evidence, first: Run, second: Run) -> bool:
    """Whether the first one's worker, or its slot, was lost while it ran."""
    if evidence.ownership.losses(first.worker, first.partition, first.began, second.began):
        return True
    if evidence.ownership.was_zombie(second):
        return True
    return evidence.is_slot_lost(first, second.began)


def _queues(evidence: Evidence) -> dict[Hashable, list[Message]]:
    """Messages that are to be worked one after the other, by what keeps them in order."""
    found: dict[Hashable, list[Message]] = defaultdict(list)
    for message in sorted(evidence.left.messages.values(), key=lambda one: (one.partition, one.offset)):
        if evidence.setting.ordering == "partition":
            found[message.partition].append(message)
        elif evidence.setting.ordering == "key" and message.key is not None:
            found[message.partition, message.key].append(message)
    return found


def _share_a_call(evidence: Evidence, first: Message, run: Run) -> bool:
    """Whether both were begun in one call, the first one first."""
    return bool(run.call) and any(
        other.call == run.call and other.began <= run.began for other in evidence.history.positions[first.position]
    )


PROMISES = (
    Promise("README.md", "a retry waits in its place, and its key with it; other keys go on", order_is_kept),
    Promise("docs/kafka.md", "none runs in two workers at the same time", none_runs_beside_another),
)
