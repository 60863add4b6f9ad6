"""What operators do beside workers: retry, cancel, look."""

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.promises import Found, Promise

LOOKS = ("kafka:lag", "queue:failed", "queue:delayed", "queue:restart", "down", "up")


def cancelled_jobs_never_run(evidence: Evidence) -> Found:
    """What `queue:cancel` has said it has cancelled does not run, and is gone."""
    for story in evidence.stories:
        if story.cancelled is None:
            continue
        if story.runs:
            yield story.n, "was cancelled, and ran"
        if story.n in evidence.left.rows:
            yield story.n, "was cancelled, and still waits"


def commands_come_to_an_end(evidence: Evidence) -> Found:
    """Commands that look, and those that tell workers something, do it whatever workers do."""
    for line in evidence.history.disturbances:
        if line["event"] != "over" or not line.get("status"):
            continue
        command = line["command"].partition(" ")[0]
        if command in LOOKS and not evidence.is_anything_away(line["at"] - 60, line["at"]):
            yield None, f"`{line['command']}` ended with {line['status']}: {line['said']}"
        if "Traceback" in line["said"]:
            yield None, f"`{line['command']}` ended with a traceback: {line['said']}"


PROMISES = (
    Promise("docs/delays.md", "a cancelled job never runs", cancelled_jobs_never_run),
    Promise("docs/kafka-groups.md", "it needs no worker, disturbs none, and commits nothing", commands_come_to_an_end),
)
