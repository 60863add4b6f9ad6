"""Large payloads are there as long as they are needed, and given back then."""

from lamplighter.queue.claims.claims import reference_in
from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Run
from tests.faults.chaos.promises import Found, Promise

SUFFIX = ".claim"
TOLD = 1.0  # seconds from the end of a job until its payload is marked as done, on a machine that is busy


def failed_jobs_keep_their_files(evidence: Evidence) -> Found:
    """The payload of a failed job is still there."""
    for record in evidence.left.failed:
        reference = reference_in(record.headers)
        if reference is not None and reference.name + SUFFIX not in evidence.left.claims:
            yield record.n, f"has failed, and its payload {reference.name} is gone"


def files_are_given_back(evidence: Evidence) -> Found:
    """Where no worker was lost and no partition moved, no file is left but those of jobs that have failed or wait."""
    if evidence.moved or not evidence.setting.has_claims:
        return
    left = evidence.left
    needed = {reference.name + SUFFIX for record in left.failed if (reference := reference_in(record.headers))}
    for name in sorted(name for name in left.claims - needed if name.endswith(SUFFIX)):
        yield None, f"the file {name} is left in the folder of large payloads, and no failed job needs it"


def what_is_done_rests(evidence: Evidence) -> Found:
    """A job whose payload was put aside is not begun any more once it is done, by whatever record of it."""
    for story in evidence.stories:
        if not any(reference_in(message.headers) for message in evidence.left.of(story.n)):
            continue
        for first in story.runs:
            if first.how != "end" or first.ended is None or _may_be_untold(evidence, first, first.ended):
                continue
            later = [run for run in story.runs if run.began > first.ended + TOLD]
            for run in later:
                yield story.n, f"was started at {run.position} {run.began - first.ended:.1f} s after it was done"


def _may_be_untold(evidence: Evidence, run: Run, ended: float) -> bool:
    """Whether its worker was lost before it could tell that the job was done."""
    return bool(evidence.ownership.losses(run.worker, run.partition, run.began, ended + TOLD))


PROMISES = (
    Promise("docs/large-payloads.md", "kept, so that `queue:retry` works", failed_jobs_keep_their_files),
    Promise("docs/large-payloads.md", "before the job's offset is finished", files_are_given_back),
    Promise("docs/large-payloads.md", "a job with a claim is not run again once it is done", what_is_done_rests),
)
