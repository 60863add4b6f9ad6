"""Nothing is lost, and nothing is stuck."""

import json

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Story
from tests.faults.chaos.left import Message, due_of
from tests.faults.chaos.promises import Found, Promise

SOON = 10.0  # seconds that a job which is due may still be on its way
DISPATCH = 10.0  # seconds, dispatch_timeout
SLACK = 4.0  # seconds, for a machine that is busy


def at_least_once(evidence: Evidence) -> Found:
    """What was acknowledged is on a queue, waits, or was cancelled; each message that was on one has come to an end."""
    for story in evidence.stories:
        if story.acknowledged is not None:
            yield from _lost(evidence, story)
    for message in evidence.left.messages.values():
        if message.n is not None and message.position not in evidence.concluded:
            yield message.n, f"its message at {message.position} never came to an end"


def _lost(evidence: Evidence, story: Story) -> Found:
    left = evidence.left
    if left.of(story.n) or story.cancelled is not None or story.n in left.rows:
        return
    waiting = [message for message in left.waiting if message.n == story.n]
    if not waiting:
        yield story.n, "was acknowledged, and is nowhere: on no topic, in no table"
    elif not any(_waits(message, evidence.ended) for message in waiting):
        yield story.n, "was acknowledged, waited in a delay topic until it was due, and never came to its queue"


def _waits(message: Message, now: float) -> bool:
    due = due_of(message)
    return due is not None and due > now - SOON


def pushes_arrive(evidence: Evidence) -> Found:
    """What a job has pushed that came to a good end is on its queue, or waits."""
    left = evidence.left
    for story in evidence.stories:
        parent = evidence.history.jobs.get(story.order.parent)
        if parent is None or not parent.has_ended or parent.has_failed:
            continue
        waits = any(message.n == story.n for message in left.waiting) or story.n in left.rows
        if not left.of(story.n) and not waits:
            yield story.n, f"was pushed by job {parent.n}, which is done, and is nowhere"


def copies_arrive(evidence: Evidence) -> Found:
    """A retry that travels comes back, with one attempt more."""
    for story in evidence.stories:
        for run in story.runs:
            if run.ended is None or not evidence.goes_on_as_copy(run) or run.ended > evidence.ended - SOON:
                continue
            later = [one for one in evidence.left.of(story.n) if one.attempts >= run.attempts]
            here = [other for other in evidence.history.positions[run.position] if other.began > run.ended]
            if not later and not here:
                yield story.n, f"failed at {run.position} in its attempt {run.attempts}, and was never tried again"


def nothing_stuck(evidence: Evidence) -> Found:
    """When nothing disturbs any more, all is done in bounded time, and committed."""
    left = evidence.left
    for partition, end in left.ends.items():
        if left.committed.get(partition, 0) != end:
            yield None, f"{partition} is committed up to {left.committed.get(partition)} of {end}"
    for story in evidence.stories:
        if story.acknowledged is not None and not story.is_over and story.order.raw is None:
            yield story.n, "was acknowledged, and came to no end in time"


def what_is_far_still_waits(evidence: Evidence) -> Found:
    """A job that is due after the round is still there."""
    left = evidence.left
    for story in evidence.stories:
        if story.order.fate != "waits" or story.acknowledged is None or story.cancelled is not None:
            continue
        if story.n not in left.rows and not any(message.n == story.n for message in left.waiting):
            yield story.n, "is due later, and waits nowhere"


def rows_are_written(evidence: Evidence) -> Found:
    """A job that has committed its own row, and is done, has it in the database."""
    for story in evidence.stories:
        if story.order.job == "chaos.row" and story.has_ended and story.n not in evidence.left.written:
            yield story.n, "is done, and its row is not there"


def fates(evidence: Evidence) -> Found:
    """What can only fail has not ended well."""
    for story in evidence.stories:
        if story.order.fate == "fails" and story.has_ended:
            yield story.n, "ended well, though it can only fail"


def payloads_are_whole(evidence: Evidence) -> Found:
    """A job has the very data that were dispatched."""
    for line in evidence.history.lines:
        if line["event"] == "start" and not line["is_whole"]:
            yield line["n"], f"was started at {line['position']} with other data than were dispatched"


def dispatch_is_bounded(evidence: Evidence) -> Found:
    """dispatch returns or raises in time; it raises only where something is away."""
    for story in evidence.stories:
        if story.order.raw is not None:
            continue  # another program's producer has sent it
        asked = 0.0
        for line in story.lines:
            if line["event"] == "dispatching":
                asked = line["at"]
            elif line["event"] in ("acknowledged", "refused"):
                took = line["at"] - asked
                if took > DISPATCH + SLACK and not evidence.is_database_away(asked, line["at"]):
                    yield story.n, f"its dispatch took {took:.1f} s"
            if line["event"] == "refused" and not evidence.is_anything_away(asked, line["at"]):
                yield story.n, f"its dispatch raised though nothing was away: {json.dumps(line.get('text', ''))}"


PROMISES = (
    Promise("README.md", "A job whose dispatch returned is run to an end at least once", at_least_once),
    Promise("docs/kafka.md", "the first one is done when the brokers have acknowledged its last push", pushes_arrive),
    Promise("docs/delays.md", "The original is done when the brokers have acknowledged the copy.", copies_arrive),
    Promise("README.md", "each job comes to its end, and is committed behind it", nothing_stuck),
    Promise("docs/delays.md", "Delayed jobs are durable when `dispatch` returns.", what_is_far_still_waits),
    Promise("docs/queue-work.md", "a job is done when its handler has returned", rows_are_written),
    Promise("docs/queue-work.md", "a job that raises is tried again, or recorded as failed", fates),
    Promise("README.md", "What it accepts, a worker can read.", payloads_are_whole),
    Promise(
        "README.md", "`dispatch` returns when the broker has acknowledged, or raises within 10 s.", dispatch_is_bounded
    ),
)
