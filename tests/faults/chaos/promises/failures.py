"""What has failed is kept as it was, once, and its failed() is called once."""

from itertools import pairwise

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Line, Run, Story
from tests.faults.chaos.left import Failed, Message
from tests.faults.chaos.ownership import Loss
from tests.faults.chaos.promises import Found, Promise
from tests.faults.ledger import COMMIT, ROOM

PLACES = {"table": ("table",), "topic": ("topic",), "both": ("table", "topic")}
# There is no job whose failed() could be called.
UNREADABLE = frozenset({"UnreadablePayload", "UnknownJob", "InvalidData", "ClaimLost"})
# Errors that a message must not fail with, whatever was done to the round.
NEVER = (
    "ClaimLost",
    "SystemError",
    "OverflowError",
    "UnicodeDecodeError",
    "AssertionError",
    "AttributeError",
    "KeyError",
)


def failed_jobs_are_kept(evidence: Evidence) -> Found:
    """Each message that has failed is kept in each place, once, or was retried."""
    for position, lines in evidence.failures.items():
        message = evidence.left.messages.get(position)
        if message is None or _was_done_later(evidence, position, lines[-1].at):
            continue
        records = evidence.left.failures(position)
        for place in PLACES[evidence.setting.failed]:
            count = sum(record.place == place for record in records)
            if count > 1:
                yield message.n, f"failed at {position}, and is kept {count} times in the {place}"
            if count == 0 and not _was_retried(evidence, message, lines[0].at):
                yield message.n, f"failed at {position}, and is not in the {place}, nor on its queue again"


def _was_done_later(evidence: Evidence, position: str, failed_at: float) -> bool:
    """Whether the message was begun anew since its worker was lost, and ended well."""
    return any(run.how == "end" and run.ended is not None for run in evidence.history.positions[position])


def _was_retried(evidence: Evidence, message: Message, failed_at: float) -> bool:
    if message.n is None:
        return True
    return any(other.at >= failed_at - 1 and other.attempts == 0 for other in evidence.left.of(message.n))


def failed_jobs_are_as_they_were(evidence: Evidence) -> Found:
    """A failed job has the very bytes, key and headers of its message."""
    for record in evidence.left.failed:
        message = evidence.left.messages.get(record.origin)
        if message is None:
            yield record.n, f"is kept in the {record.place} as of {record.origin}, where no such message is"
            continue
        yield from _differences(record, message)


def _differences(record: Failed, message: Message) -> Found:
    for part, kept, sent in (
        ("bytes", record.payload, message.value),
        ("key", record.key, message.key),
        ("headers", _pairs(record.headers), _pairs(message.headers)),
    ):
        if kept != sent:
            shown = f"{str(kept)[:200]}, and was {str(sent)[:200]}"
            yield message.n, f"is kept in the {record.place} with other {part} than it had: {shown}"


def _pairs(headers: object) -> list[tuple[str, bytes | None]]:
    return [(name, value) for name, value in headers]  # type: ignore[attr-defined]


def failed_is_called_once(evidence: Evidence) -> Found:
    """failed() is called once for each failure: once more only by another worker, since the first one was lost."""
    hooks: dict[str, list[Line]] = {}
    for story in evidence.stories:
        for line in story.hooks:
            hooks.setdefault(line["position"], []).append(line)
    for position, lines in hooks.items():
        for first, second in pairwise(lines):
            if not evidence.was_lost(first, second["at"]):
                yield first["n"], f"its failed() was called again at {position}, and nothing had happened between"
    for position, told in evidence.history.told_failed.items():
        message = evidence.left.messages.get(position)
        if position in hooks or message is None or told[0]["error"] in UNREADABLE:
            continue
        if not evidence.is_hook_given_up(position):
            yield message.n, f"failed at {position} with {told[0]['error']}, and its failed() was not called"


def errors_are_their_own(evidence: Evidence) -> Found:
    """A job that has failed by itself is kept with what it has raised, or has given up with."""
    for record in evidence.left.failed:
        runs = evidence.history.positions.get(record.origin, [])
        if not runs or any(run.how is None for run in runs):
            continue
        last = runs[-1]
        own = {"error": f"boom {last.n}", "gave up": f"given up {last.n}"}.get(last.how or "")
        has_tried = last.how == "gave up" or last.attempts >= evidence.tries(evidence.history.jobs[last.n])
        if own is not None and has_tried and own not in record.exception:
            said = record.exception.strip().splitlines()[-1:]
            yield last.n, f"failed with its own error at {record.origin}, and is kept in the {record.place} with {said}"


def no_strange_errors(evidence: Evidence) -> Found:
    """No job fails by an error that is the framework's own doing, and none loses its large payload."""
    for record in evidence.left.failed:
        last = record.exception.strip().splitlines()[-1] if record.exception.strip() else ""
        name = last.partition(":")[0].rpartition(".")[2]
        if name in NEVER:
            yield record.n, f"failed with {last[:300]}"


def innocents_do_not_fail(evidence: Evidence) -> Found:
    """A job that would end well is among the failed only where kills have used up its starts."""
    for story in evidence.stories:
        if story.order.fate != "ends" or not story.has_failed:
            continue
        unfinished = [run for run in evidence.unfinished(story) if not run.dies]
        enough = evidence.tries(story) if evidence.setting.pool == "process" else 2
        if len(unfinished) < enough and not _was_last_start_lost(evidence, story):
            errors = ", ".join(sorted({line["error"] for line in [*story.hooks, *story.told] if "error" in line}))
            yield story.n, f"failed with {errors} after {len(unfinished)} runs that came to no end"


def _was_last_start_lost(evidence: Evidence, story: Story) -> bool:
    """Whether a job had used its tries by itself, and the worker of the last one was lost before it told its end."""
    last = max(story.runs, key=lambda run: run.began, default=None)
    if last is None or last.attempts < evidence.tries(story):
        return False
    losses = evidence.ownership.losses(last.worker, last.partition, last.began, evidence.ended)
    return any(_untold(evidence, last, loss) <= COMMIT + ROOM for loss in losses)


def _untold(evidence: Evidence, run: Run, loss: Loss) -> float:
    return 0.0 if run.ended is None else evidence.ownership.untold(run, loss)


PROMISES = (
    Promise("docs/failed-jobs.md", "nothing is settled before the failed job is recorded", failed_jobs_are_kept),
    Promise("README.md", "is kept among the failed jobs with its bytes, key and headers", failed_jobs_are_as_they_were),
    Promise("docs/queue-work.md", "`failed()` is called once, with the error that is recorded", failed_is_called_once),
    Promise("docs/queue-work.md", "`failed()` is called once, with the error that is recorded", errors_are_their_own),
    Promise("docs/large-payloads.md", "no such record becomes a failed job", no_strange_errors),
    Promise("docs/kafka.md", "no job fails for what ran beside it", innocents_do_not_fail),
)
