"""The command line of `queue:work`. What it does is looked at in tests/kafka."""

import pytest

from lamplighter.console.group import CommandGroup
from lamplighter.errors import ConsoleError
from lamplighter.queue.provider import COMMANDS

LIMITS = ("tries", "timeout", "memory", "sleep", "rest", "grace", "max-jobs", "max-time", "stop-when-empty-for")


@pytest.mark.parametrize("option", [*(f"--{name}=-1" for name in LIMITS), "--shutdown-timeout=0"])
def test_a_limit_that_would_end_every_job_or_worker_at_once_is_refused(option: str) -> None:
    group = CommandGroup({entry.name: entry for entry in COMMANDS})

    with pytest.raises(ConsoleError, match=option.partition("=")[0]):
        group.parse(["queue:work", option])
