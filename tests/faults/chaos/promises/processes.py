"""Workers end as they say, in time, and say nothing that nobody understands."""

import re

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import WorkerStory
from tests.faults.chaos.left import LogLine
from tests.faults.chaos.promises import Found, Promise

SHUTDOWN = 10.0  # --shutdown-timeout of these workers
LONGEST = 3.0  # seconds that a job of a round takes which does not overrun; one that does has a timeout of one second
BUSY = 6.0  # seconds, for a machine that is busy
BOOT = 15.0  # seconds; a worker that boots has no handler in its first second, and listens to TERM when it has booted
# What has an application's own error with it.
APPLICATIONS = (
    "job will run again",
    "a job raised after it had settled itself",
    "a call of handle_many failed; its jobs are begun one by one",
)


def workers_end_in_time(evidence: Evidence) -> Found:
    """From TERM on a worker has the time of its job, its grace, and that of its shutdown."""
    for worker in evidence.history.workers.values():
        if worker.termed is None:
            continue
        bound = LONGEST + (evidence.setting.grace or 0) + SHUTDOWN + BUSY + sum(b - a for a, b in worker.frozen)
        bound += max(0.0, BOOT - (worker.termed - worker.started))
        took = (worker.ended or evidence.ended) - worker.termed
        if took > bound:
            yield None, f"worker {worker.pid} took {took:.1f} s from TERM to its end"


def none_is_left(evidence: Evidence) -> Found:
    """No process is left when the workers are to have ended."""
    for process in evidence.left.processes:
        yield None, f"still runs: {process}"


def exit_codes_tell_why(evidence: Evidence) -> Found:
    """A worker ends with a code that docs/queue-work.md names, for a reason that was there."""
    for worker in evidence.history.workers.values():
        if worker.status is not None and not _is_expected(evidence, worker):
            yield None, f"worker {worker.pid} ({worker.log}) ended with {worker.status}"


def _is_expected(evidence: Evidence, worker: WorkerStory) -> bool:
    status = worker.status
    assert worker.ended is not None
    if worker.killed is not None:
        return True
    if status == 0:
        return worker.termed is not None or _may_stop_by_itself(evidence, worker)
    if status in (-15, 143):
        return worker.termed is not None and worker.termed - worker.started < BOOT
    if any(run.dies and run.worker == worker.pid for run in evidence.history.runs()):
        return status in (3, -11, -9)
    if status == 137:
        return any(story.order.timeout for story in evidence.stories)
    if status == 1:
        return _may_end_with_one(evidence, worker)
    return False


def _may_stop_by_itself(evidence: Evidence, worker: WorkerStory) -> bool:
    """Whether somebody has asked all workers to restart, or this one has done all that it is to do."""
    kinds = {line["kind"] for line in evidence.history.disturbances}
    return bool(evidence.setting.max_jobs) or "restart" in kinds or "scale" in kinds


def _may_end_with_one(evidence: Evidence, worker: WorkerStory) -> bool:
    """Whether its job outlasted its grace, brokers or database were away, or another had its name in the group."""
    assert worker.ended is not None
    return (
        (evidence.setting.grace is not None and worker.termed is not None)
        or evidence.is_anything_away(worker.started, worker.ended)
        or evidence.setting.is_static
    )


def no_tracebacks(evidence: Evidence) -> Found:
    """Logs have no traceback but those of applications."""
    for line in evidence.left.logs:
        if line.entry:
            if "exception" in line.entry and line.message not in APPLICATIONS:
                yield None, f"worker {line.worker}: {line.message}\n{line.entry['exception'][-1500:]}"
        elif re.match(r"Traceback|Exception|Fatal Python error|Timeout \(", line.text) and not _is_of_a_death(
            evidence, line
        ):
            yield None, f"worker {line.worker} has written: {line.text[:300]}"
    if "Traceback" in evidence.left.dispatcher:
        yield None, f"the dispatcher has written: {evidence.left.dispatcher[-1500:]}"


def _is_of_a_death(evidence: Evidence, line: LogLine) -> bool:
    if line.text.startswith("Timeout ("):
        # A slot ends itself where its job overruns and its worker, which was frozen, does not end it.
        worker = evidence.history.workers.get(line.worker)
        is_frozen = worker is not None and bool(worker.frozen) and evidence.setting.pool == "process"
        return is_frozen and any(story.order.timeout for story in evidence.stories)
    return line.text.startswith("Fatal Python error: Segmentation fault") and any(
        run.dies for run in evidence.history.runs()
    )


def workers_live(evidence: Evidence) -> Found:
    """When nothing disturbs any more there are as many workers as there are to be."""
    if evidence.left.alive < 1:
        yield None, "no worker was alive when nothing disturbed any more"


PROMISES = (
    Promise(
        "docs/queue-work.md", "seconds for committing and leaving, from the end of the last job", workers_end_in_time
    ),
    Promise("docs/queue-work.md", "end when the worker is killed", none_is_left),
    Promise("docs/queue-work.md", "reason, the first that holds", exit_codes_tell_why),
    Promise("docs/queue-work.md", "finish the job in hand and commit", no_tracebacks),
    Promise("docs/queue-work.md", "until there is a reason to stop", workers_live),
)
