"""Nothing runs early."""

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Run, Story
from tests.faults.chaos.promises import Found, Promise
from tests.faults.ledger import COMMIT, ROOM

EARLY = 0.002  # seconds; brokers count in milliseconds


def never_early(evidence: Evidence) -> Found:
    """A delayed job starts when it is due, or later; counted from when its dispatch began."""
    for story in evidence.stories:
        if not story.order.delay or not story.runs or not story.dispatched:
            continue
        early = min(story.dispatched) + story.order.delay - min(run.began for run in story.runs)
        if early > EARLY:
            yield story.n, f"was started {early:.3f} s before it was due"


def backoff_is_waited(evidence: Evidence) -> Found:
    """Between two attempts lies the backoff, or what the job has released itself for, unless its worker was lost."""
    for story in evidence.stories:
        for run in story.runs:
            befores = [one for one in story.runs if one.attempts == run.attempts - 1 and one.began < run.began]
            waits = [(before, _wait(evidence, story, before)) for before in befores if before.ended is not None]
            if not waits or len(waits) < len(befores):
                continue  # the one before was cut off by a crash, and nobody knows when
            before, wait = min(waits, key=lambda one: (one[0].ended or 0.0) + one[1])
            assert before.ended is not None
            early = before.ended + wait - run.began
            if early > EARLY and not _was_untold(evidence, before, run):
                yield story.n, f"was started again {early:.3f} s before its {wait:g} s were over"


def _wait(evidence: Evidence, story: Story, run: Run) -> float:
    if run.how == "released":
        return run.delay
    return evidence.backoff(story, run.attempts) if run.how == "error" else 0.0


def _was_untold(evidence: Evidence, before: Run, run: Run) -> bool:
    """Whether the worker was lost before it could have told when the job is due."""
    assert before.ended is not None
    losses = evidence.ownership.losses(before.worker, before.partition, before.ended, run.began)
    return any(evidence.ownership.untold(before, loss) <= COMMIT + ROOM for loss in losses)


PROMISES = (
    Promise("README.md", "are durable, never early, and by the brokers' clock", never_early),
    Promise("docs/jobs.md", "seconds before each retry, one number or several", backoff_is_waited),
)
