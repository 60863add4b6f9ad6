"""The command line of `queue:work`. What it does is looked at in tests/kafka."""

import pytest

from lamplighter.console.group import CommandGroup
from lamplighter.errors import ConsoleError
from lamplighter.queue.provider import COMMANDS

LIMITS = ("tries", "timeout", "memory", "sleep", "rest", "grace", "max-jobs", "max-time", "stop-when-empty-for")
TIMES = ("timeout", "sleep", "rest", "grace", "max-time", "stop-when-empty-for", "shutdown-timeout", "delay")


@pytest.mark.parametrize("option", [*(f"--{name}=-1" for name in LIMITS), "--shutdown-timeout=0"])
def test_a_limit_that_would_end_every_job_or_worker_at_once_is_refused(option: str) -> None:
    group = CommandGroup({entry.name: entry for entry in COMMANDS})

    with pytest.raises(ConsoleError, match=option.partition("=")[0]):
        group.parse(["queue:work", option])


@pytest.mark.parametrize(
    "words",
    [
        *(["queue:work", f"--{name}={value}"] for name in TIMES for value in ("inf", "1e300", "nan")),
        ["queue:work", "--concurrency=1000000", "--pool=thread"],
        ["queue:flush", "--hours=inf"],
        ["queue:flush", "--hours=1e9"],
        ["queue:prune-failed", "--hours=1e9"],
        ["queue:prune-failed", "--hours=nan"],
        ["queue:failed", "--limit=99999999999999999999"],
        ["queue:health", "--seconds=-1"],
        ["queue:health", "--seconds=inf"],
        ["queue:delayed", "--limit=99999999999999999999"],
    ],
)
def test_a_number_that_no_clock_and_no_host_can_count_is_refused(words: list[str]) -> None:
    group = CommandGroup({entry.name: entry for entry in COMMANDS})

    with pytest.raises(ConsoleError, match=words[1].partition("=")[0].strip("-")):
        group.parse(words)
