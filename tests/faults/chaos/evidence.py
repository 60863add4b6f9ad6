"""All that the promises are checked by: what has happened, what is left, and what follows from both."""

from functools import cached_property

from tests.faults.chaos.history import History, Line, Run, Story
from tests.faults.chaos.left import Left, LogLine
from tests.faults.chaos.ownership import BACK, HARM, Ownership

HOOK = 1.0  # seconds that recording a failed job may take before its failed() is called
TOLD = 0.5  # seconds until a worker tells what has become of a slot's job


class Evidence:
    """A round that is over."""

    def __init__(self, history: History, left: Left) -> None:
        self.history = history
        self.left = left
        self.setting = history.round.setting
        self.ownership = Ownership(history, left.logs)

    @property
    def stories(self) -> list[Story]:
        """Every job."""
        return [*self.history.jobs.values()]

    @cached_property
    def ended(self) -> float:
        """When the last thing happened."""
        return float(self.history.lines[-1]["at"]) if self.history.lines else 0.0

    # policy ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def tries(self, story: Story) -> int:
        """How often a job is started at most, by itself or by its worker's options."""
        return self.setting.tries if story.order.tries is None else story.order.tries

    def tries_after_crashes(self, story: Story) -> int:
        """How often it is started at most where workers die of it, or beside it."""
        tries = self.tries(story)
        return 1 + (max(2, tries) if story.order.tries is None else tries)

    def backoff(self, story: Story, attempts: int) -> float:
        """Seconds from the end of an attempt to the next one."""
        waits = (self.setting.backoff,) if story.order.backoff is None else story.order.backoff
        return waits[min(attempts, len(waits)) - 1] if waits else 0.0

    def travels(self, delay: float) -> bool:
        """Whether a retry goes on as a copy."""
        return delay > 0 and (delay > self.setting.retry_in_place or self.setting.ordering == "none")

    # ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def failures(self) -> dict[str, list[LogLine]]:
        """What the logs tell of failed jobs, by their positions: each line is written when the record is."""
        found: dict[str, list[LogLine]] = {}
        for line in self.left.logs:
            if line.message == "job failed":
                found.setdefault(str(line.entry["position"]), []).append(line)
        return found

    @cached_property
    def concluded(self) -> dict[str, float]:
        """When each message first came to an end: it was done, recorded as failed, or goes on as a copy."""
        found: dict[str, float] = {}

        def tell(position: str, at: float) -> None:
            found[position] = min(at, found.get(position, at))

        for run in self.history.runs():
            if run.ended is not None and (run.how == "end" or self.goes_on_as_copy(run)):
                tell(run.position, run.ended)
        for position, lines in self.failures.items():
            tell(position, min(line.at for line in lines))
        for said in self.left.logs:
            if said.message.startswith("a job is done already"):
                tell(str(said.entry["position"]), said.at)
        for line in self.history.lines:
            event = line["event"]
            is_copy = event == "told released" and self.travels(line["delay"])
            if is_copy or event in ("failed", "told failed", "told overdue"):
                tell(line["position"], line["at"])
        return found

    def goes_on_as_copy(self, run: Run) -> bool:
        """Whether a run that did not succeed is followed by a copy of its message."""
        story = self.history.jobs[run.n]
        if run.how == "released":
            return self.travels(run.delay)
        if run.how in ("error", "broken") and run.attempts < self.tries(story):
            return self.travels(self.backoff(story, run.attempts))
        return False

    # crashes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def unfinished(self, story: Story) -> list[Run]:
        """The runs whose processes ended, or were too late, while the handler ran."""
        return [run for run in story.runs if run.how is None or run.how == "broken"]

    def crashes(self, story: Story, until: float) -> int:
        """How many workers crashed, or lost what they had, while a job was in the queue, up to a moment."""
        arrived = [message.at for message in self.left.of(story.n)]
        return self.ownership.crashes(min(arrived, default=self.history.began), until)

    @cached_property
    def moved(self) -> bool:
        """Whether partitions moved, brokers were away, or a process was killed, so that files may be left."""
        kinds = {line["kind"] for line in self.history.disturbances if not line.get("is_last")}
        has_died = any(run.dies for run in self.history.runs()) or len(self.history.workers) > 1
        return has_died or bool(kinds - {"look", "retry", "cancel"})

    def crashes_from_outside(self, story: Story) -> int:
        """How many of them were no doing of the job's own: one that ends its slot crashes no worker."""
        kills_worker = bool(story.order.does.get("die") == "parent")
        own = sum(run.dies and (kills_worker or run.pid == run.worker) for run in story.runs)
        return max(0, self.crashes(story, self.ended) - own)

    def was_lost(self, line: Line, until: float) -> bool:
        """Whether the worker that has written a line about a position lost it before `until`."""
        pid = line["pid"] if line["pid"] in self.history.workers else line["parent"]
        position = str(line["position"])
        # While brokers are away the record, which comes before failed(), takes as long as they do.
        ends = [
            run.ended for run in self.history.positions.get(position, ()) if run.worker == pid and run.ended is not None
        ]
        since = min(line["at"] - HOOK, max((at for at in ends if at <= line["at"]), default=line["at"]))
        return bool(self.ownership.losses(pid, position.partition("@")[0], since, until))

    def is_slot_lost(self, run: Run, until: float) -> bool:
        """Whether the process slot of a run ended, or was ended, while the run was in it."""
        if run.pid == run.worker:
            return False
        if run.dies or any(line.get("slot") == run.pid for line in self.history.disturbances):
            return True
        told = self.history.jobs[run.n].told
        return any(line["event"] != "told failed" and run.began <= line["at"] <= until + TOLD for line in told)

    def is_hook_given_up(self, position: str) -> bool:
        """Whether the failed() of a message was not called since workers, or a slot, have died in it."""
        words = ("failed() is not called", "in failed(), which is not called again")
        return any(
            any(word in line.message for word in words)
            for line in self.left.logs
            if line.entry.get("position") == position or "failed() is not called" in line.message
        )

    def had_refused_push(self, run: Run) -> bool:
        """Whether a push of a run may have failed, so that its job runs again in its place."""
        has_pushed = any(run.id in story.pushed for story in self.stories)
        return has_pushed and self.ownership.are_brokers_away(run.ended or run.began)

    # what was away ─────────────────────────────────────────────────────────────────────────────────────────────────

    def is_database_away(self, since: float, until: float) -> bool:
        """Whether the database was locked, or away, at some time between these."""
        return any(a <= until and since <= b + BACK for a, b in self.history.windows("lock", "database_away"))

    def is_anything_away(self, since: float, until: float) -> bool:
        """Whether brokers or database were harmed at some time between these."""
        harmed = self.history.windows(*HARM)
        return self.is_database_away(since, until) or any(a <= until and since <= b + BACK for a, b in harmed)
