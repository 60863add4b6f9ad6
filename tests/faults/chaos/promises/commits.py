"""Offsets are committed behind the ends of jobs, what is committed does not run again, and nothing goes back."""

from collections.abc import Iterator

from lamplighter.kafka.partitions.offset_map import OffsetMap
from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Run
from tests.faults.chaos.promises import Found, Promise

TICK = 0.002  # seconds; logs count in milliseconds


def commits_follow_ends(evidence: Evidence) -> Found:
    """No message was told as done before it was."""
    for position, at in known(evidence).items():
        message = evidence.left.messages.get(position)
        done = evidence.concluded.get(position)
        if message is not None and message.n is not None and (done is None or done > at + TICK):
            when = "and never was" if done is None else f"{done - at:.3f} s before it was"
            yield message.n, f"{position} was committed as done {when}"


def what_is_committed_rests(evidence: Evidence) -> Found:
    """What is committed as done is not started any more."""
    for position, at in known(evidence).items():
        for run in evidence.history.positions[position]:
            if run.began > at + TICK and not _is_excused(evidence, run, at):
                yield run.n, f"was started at {position} {run.began - at:.2f} s after it was committed as done"


def _is_excused(evidence: Evidence, run: Run, at: float) -> bool:
    """Whether a worker had the message from the time when it still owned the partition.

    What is buffered it begins until it knows of its loss. What was in hand when it gave the partition away, and
    waits for a slot that boots, it runs. Nothing is committed of either.
    """
    ownership = evidence.ownership
    is_late = any(loss.kind == "lost" and loss.at > at for loss in ownership.losses(run.worker, run.partition, at, at))
    return is_late or ownership.was_given_away(run) or ownership.was_zombie(run)


def no_offset_goes_back(evidence: Evidence) -> Found:
    """A later commit of a partition is never below an earlier one."""
    for partition, commits in evidence.left.seen.items():
        reached = 0
        for _, offset, metadata in commits:
            if offset < reached:
                yield None, f"{partition} went back from {reached} to {offset}"
            if OffsetMap.decode(metadata, offset) is None:
                yield None, f"{partition} was committed at {offset} with {metadata[:100]!r}"
            reached = max(reached, offset)


def known(evidence: Evidence) -> dict[str, float]:
    """When each position was first seen to be committed as done."""
    found: dict[str, float] = {}
    for partition, commits in evidence.left.seen.items():
        reached = 0
        for at, offset, metadata in commits:
            for one in (*range(reached, offset), *_beyond(offset, metadata)):
                found.setdefault(f"{partition}@{one}", at)
            reached = max(reached, offset)
    return found


def _beyond(offset: int, metadata: str) -> Iterator[int]:
    """What is told as done beyond the committed offset."""
    told = OffsetMap.decode(metadata, offset)
    if told is not None:
        unfinished = set(told.unfinished)
        yield from (one for one in range(offset, told.frontier) if one not in unfinished)


PROMISES = (
    Promise("README.md", "a job is committed behind its end", commits_follow_ends),
    Promise("docs/kafka.md", "what is known to be done does not run again", what_is_committed_rests),
    Promise("docs/kafka.md", "a restart or a rebalance runs nothing again that was told as done", no_offset_goes_back),
)
