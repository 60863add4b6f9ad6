"""What a broken promise is told with: the round, the job's whole history, and how to run it again."""

from collections import Counter
from collections.abc import Iterable

from tests.faults.chaos.history import Line
from tests.faults.chaos.left import LogLine
from tests.faults.chaos.promises import Breach
from tests.faults.chaos.running import Outcome

MOST = 4  # breaches that are told with their histories
MOST_LINES = 60  # of the ledger, and as many of the logs, for one of them
# What is of every job's history; the rest of a line is shown as it is.
SILENT = frozenset({"at", "event", "n", "parent", "is_whole", "headers"})


def report(outcome: Outcome) -> str:
    """All that a reader needs to begin with."""
    seed = outcome.round.seed
    said = [str(outcome), outcome.round.describe(), f"folder        {outcome.folder}", ""]
    said += [f"{count} times: {name}" for name, count in Counter(one.promise.name for one in outcome.breaches).items()]
    for breach in _first_of_each(outcome.breaches):
        said += ["", *_told(outcome, breach)]
    again = f"make chaos SEED={seed} ROUNDS=1"
    shrink = "CHAOS_JOBS=plain,retries CHAOS_DISTURBANCES=kill before it leave out all but these kinds"
    return "\n".join([*said, "", f"again: {again}", f"       {shrink}"])


def _first_of_each(breaches: Iterable[Breach]) -> list[Breach]:
    """One of each kind first, then others, as many as are told."""
    firsts = {breach.promise.name: breach for breach in reversed([*breaches])}
    others = [breach for breach in breaches if breach not in firsts.values()]
    return [*firsts.values(), *others][: max(MOST, len(firsts))]


def _told(outcome: Outcome, breach: Breach) -> list[str]:
    about = "" if breach.n is None else f"job {breach.n} "
    said = [f"{breach.promise.name}: {about}{breach.what}", f"    {breach.promise.file}: {breach.promise.sentence}"]
    if breach.n is None or breach.n not in outcome.evidence.history.jobs:
        return said
    history = outcome.evidence.history
    story, began = history.jobs[breach.n], history.began
    about_workers = [line for line in history.lines if line["event"] in ("worker started", "worker ended")]
    lines = sorted([*story.lines, *history.disturbances, *about_workers], key=lambda line: float(line["at"]))
    messages = outcome.evidence.left.of(breach.n)
    said += [f"    {story.order}"]
    said += [f"    message {m.at - began:8.3f} s  {m.position} attempts={m.attempts}" for m in messages]
    said += [f"    {_line(line, began)}" for line in lines[:MOST_LINES]]
    positions = {message.position for message in messages} | {run.position for run in story.runs}
    partitions = {position.partition("@")[0] for position in positions}
    said += [
        f"    log     {line.at - began:8.3f} s  {_short(line)}"
        for line in outcome.evidence.left.logs
        if line.entry.get("position") in positions or partitions & set(str(line.entry.get("partitions")).split(", "))
    ][:MOST_LINES]
    return said


def _line(line: Line, began: float) -> str:
    rest = " ".join(f"{key}={value}" for key, value in line.items() if key not in SILENT)
    return f"ledger  {line['at'] - began:8.3f} s  {line['event']:<14} {rest}"


def _short(line: LogLine) -> str:
    hidden = ("timestamp", "level", "logger", "message", "exception")
    rest = " ".join(f"{key}={str(value)[:200]}" for key, value in line.entry.items() if key not in hidden)
    return f"{line.worker} {line.message} {rest}"
