"""A job is started as often as it may be, and no more."""

from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import Story
from tests.faults.chaos.promises import Found, Promise

# Errors of the job's own, which count an attempt each.
OWN = frozenset({"ChaosError", "ChaosEnd", "SystemExit", "KeyboardInterrupt", "CancelledError", "JobTimedOut"})


def tries_are_kept(evidence: Evidence) -> Found:
    """No attempt is beyond the job's tries; one more, or three in all, where workers were lost."""
    for story in evidence.stories:
        tries = evidence.tries(story)
        for run in story.runs:
            if run.attempts <= tries:
                continue
            crashed = evidence.crashes(story, run.began) or evidence.unfinished(story)
            if not crashed or run.attempts > evidence.tries_after_crashes(story):
                yield story.n, f"was started for the {run.attempts}th time at {run.position}; it has {tries} tries"


def starts_are_counted(evidence: Evidence) -> Found:
    """A job is told no more starts than there were, but for those of workers that were lost before they began it."""
    for position, runs in evidence.history.positions.items():
        message = evidence.left.messages.get(position)
        if message is None:
            continue
        for place, run in enumerate(runs):
            story = evidence.history.jobs[run.n]
            known = message.attempts + place + 1
            if run.attempts > known + evidence.crashes(story, run.began):
                yield (
                    run.n,
                    f"was told to be started for the {run.attempts}th time at {position}, and it was the {known}th",
                )


def killers_are_given_up(evidence: Evidence) -> Found:
    """A job that ends its process each time is started `tries` + 1 times, and not once more in a slot of its own."""
    for story in evidence.stories:
        deaths = [run for run in story.runs if run.dies]
        limit = evidence.tries(story) + (1 if evidence.setting.pool != "process" or _kills_worker(story) else 0)
        others = evidence.crashes_from_outside(story)
        # Each `queue:retry` begins anew.
        anew = max(1, sum(message.attempts == 0 for message in evidence.left.of(story.n)))
        if len(deaths) > limit * anew + others:
            yield story.n, f"has ended its process {len(deaths)} times; it may {limit} times"


def _kills_worker(story: Story) -> bool:
    return story.order.does.get("die") == "parent"


def no_try_is_dropped(evidence: Evidence) -> Found:
    """A job that fails for good was started as often as it may be: unless it gave up, or workers died of it."""
    for story in evidence.stories:
        if not story.has_failed or story.order.raw is not None:
            continue
        for line in story.hooks:
            if line["error"] not in OWN or any(run.how == "gave up" for run in story.runs):
                continue
            if line["attempts"] < evidence.tries(story):
                yield story.n, f"failed in its attempt {line['attempts']} of {evidence.tries(story)}"


PROMISES = (
    Promise("docs/queue-work.md", "how often a job is started; 0 is without end", tries_are_kept),
    Promise("docs/kafka.md", "each start of a job counts once", starts_are_counted),
    Promise("README.md", "is started at most `tries` + 1 times", killers_are_given_up),
    Promise("docs/queue-work.md", "a job that raises is tried again, as long as it has tries left", no_try_is_dropped),
)
