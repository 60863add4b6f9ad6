"""A job runs again only where its worker was lost, and what had ended long before does not."""

from collections.abc import Iterator
from itertools import pairwise

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Run
from tests.faults.chaos.promises import Found, Promise
from tests.faults.ledger import COMMIT, ROOM


def repeats_are_excused(evidence: Evidence) -> Found:
    """What has ended, or still runs, is begun again only by another worker, since the first one was lost."""
    for first, second in _pairs(evidence):
        if first.how == "end" and not _was_lost(evidence, first, second):
            yield first.n, f"ended at {first.position}, and ran again though its worker had lost nothing"
        if first.how is None and not (_was_lost(evidence, first, second) or _was_broken_off(evidence, first, second)):
            yield first.n, f"was begun again at {first.position} while it ran"


def repeats_are_bounded(evidence: Evidence) -> Found:
    """What had ended more than a commit interval before its worker was lost does not run again."""
    for first, second in _pairs(evidence):
        if first.how != "end" or first.ended is None:
            continue
        losses = evidence.ownership.losses(first.worker, first.partition, first.ended, second.began)
        untold = min((evidence.ownership.untold(first, loss) for loss in losses), default=0.0)
        if untold > COMMIT + ROOM:
            yield first.n, f"ran again at {first.position} though it had ended {untold:.1f} s before its worker did"


def _pairs(evidence: Evidence) -> Iterator[tuple[Run, Run]]:
    """Two runs, one behind the other, of one message."""
    for runs in evidence.history.positions.values():
        yield from pairwise(runs)


def _was_lost(evidence: Evidence, first: Run, second: Run) -> bool:
    ownership = evidence.ownership
    since = first.began if first.ended is None else first.ended
    if ownership.losses(first.worker, first.partition, since, second.began) or ownership.was_zombie(second):
        return True
    if ownership.gave_away(first) or ownership.was_given_away(first) or ownership.was_given_away(second):
        return True
    if first.call:  # a neighbour of its call has to run again, and it stands behind that one; or the call was broken
        return True
    return evidence.had_refused_push(first)


def _was_broken_off(evidence: Evidence, first: Run, second: Run) -> bool:
    return evidence.is_slot_lost(first, second.began)


PROMISES = (
    Promise("README.md", "a lost partition or an unknown result of a commit runs it again", repeats_are_excused),
    Promise("README.md", "after a crash at most one commit interval of finished jobs runs again", repeats_are_bounded),
)
